"""What a check says of the requests that its target did not answer, for which its formula is not to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from stablemax.check.steps import CheckRun
    from stablemax.check.target.messages import NoAnswerError

MAX_HANGS = 3
"""The remaining hazards are not run once so many have hung: each hang takes the whole time limit."""


def note_what_is_not_run(run: CheckRun) -> None:
    """Note the hazards that are left out for want of memory or time."""
    if run.beyond_memory:
        _note_memory(run)
    if run.has_hung_too_often:
        run.notes.append(f"it hung {MAX_HANGS} times: the other hazards are not run (--timeout)")


def _note_memory(run: CheckRun) -> None:
    """Name the hazards that need more memory than the target may have; raise `StablemaxError` where all do."""
    names, needs = list(dict.fromkeys(verdict.hazard for verdict in run.beyond_memory)), run.beyond_memory[0].skipped
    if all(verdict.skipped for verdict in run.hazard_verdicts):
        raise StablemaxError(f"{run.target.info.name}: no hazard is run: {needs}", "give it more: --memory 8GB")
    run.notes.append(f"{needs} on {counted(len(names), 'hazard')}, not run: {listed(names)} (--memory)")


def no_trace_note(error: NoAnswerError | StablemaxError) -> str:
    """Say why no line is named.

    >>> no_trace_note(StablemaxError("jax code is not traced"))
    'no line is named: jax code is not traced'
    """
    reason = str(error) if isinstance(error, StablemaxError) else f"tracing it {error}"
    return f"no line is named: {reason}"
