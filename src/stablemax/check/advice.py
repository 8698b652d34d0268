"""The steps of a check that tell what is wrong with a formula, and what to write instead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stablemax.check.laws import easy_case
from stablemax.check.mistakes.recognise import FEWEST_INPUTS, Recognised, is_right, known_mistakes, recognise
from stablemax.check.remedies.finding import find_instead
from stablemax.numerics.formats import FLOAT64
from stablemax.results import Grade

if TYPE_CHECKING:
    from stablemax.check.steps import CheckRun
    from stablemax.check.target.globals_read import GlobalRead
    from stablemax.check.trials import Trial
    from stablemax.numerics.formats import Format


def recognise_mistake(run: CheckRun) -> None:
    """Find the known mistake that gives what the code gives: the kind of a wrong formula, or the proof that it is one.

    The exact test may have missed it, where the code cannot be run exactly: on ignored rows, for one.
    """
    if run.target.info.is_ours or run.grade in (Grade.ACCURATE, Grade.STABLE):
        return
    if run.is_wrong:
        run.mistake = recognise(run.trials, _widest(run), run.takes)
    elif FLOAT64 in run.formats and not run.is_random:
        run.mistake = recognise(run.trials, FLOAT64, run.takes, is_strict=True)
        if run.mistake is not None:
            run.is_wrong, run.wrong_in = True, f"in {FLOAT64.name} either"
    if run.mistake is None and (run.is_wrong or not run.formats):
        run.mistake = next(filter(None, (_of_global(run, read) for read in run.target.info.reads)), None)
        run.is_wrong = run.is_wrong or run.mistake is not None
    if run.is_wrong and run.mistake is None:
        count = len(known_mistakes(run.trials.operation.name))
        run.notes.append(f"none of {count} known mistakes gives its numbers")


def _of_global(run: CheckRun, read: GlobalRead) -> Recognised | None:
    """Try the code with its logits in a global that it reads: then it may be right, or show another mistake."""
    fmt = _widest(run)
    words = f"it reads the global `{read.name}`, not its argument alone"
    if is_right(run.trials, fmt, bound=read.name):
        return Recognised("global", words, FEWEST_INPUTS, read.file, read.line)
    other = recognise(run.trials, fmt, run.takes, bound=read.name)
    if other is None:
        return None
    elsewhere = f" (line {other.line})" if other.line not in (0, read.line) else ""
    both = f"{words}, and {other.words}{elsewhere}"
    return replace(other, kind=f"global, {other.kind}", words=both, file=read.file, line=read.line)


def write_instead(run: CheckRun) -> None:
    """Find code that holds on the input that failed, and note where none is known."""
    if run.grade is Grade.BROKEN or not run.has_failed or run.target.info.is_ours:
        return
    run.progress("trying what to write instead")
    failing = run.smallest or _easy_failure(run)
    if failing is None:
        return
    run.instead = find_instead(run.trials, failing, run.failures, backward=run.backward)
    if run.instead is None:
        run.notes.append(f"no code is known here that holds on the smallest failing input in {failing.format.name}")


def _easy_failure(run: CheckRun) -> Trial | None:
    """Try the easy input, where no larger one was tried or failed."""
    trial = run.trials.trial(easy_case(), _widest(run))
    return trial if trial.failed else None


def _widest(run: CheckRun) -> Format:
    """Return the widest format, in which the arithmetic hides least of the formula."""
    formats = run.formats or run.asked_formats
    return FLOAT64 if FLOAT64 in formats else max(formats, key=lambda f: f.precision)
