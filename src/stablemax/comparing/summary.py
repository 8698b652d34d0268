"""The result of a comparison or of the league in a sentence or two."""

from __future__ import annotations

from collections.abc import Iterable

from stablemax.numerics.formats import get_format
from stablemax.operations import is_built_in
from stablemax.operations.variant import get
from stablemax.results import Grade, OperationReport, Outcome, Standout, Verdict
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted, listed

_ON_LARGE_LOGITS = ("large-logits", "far-below-zero")


def finding(reports: tuple[OperationReport, ...], *, hazard: str = "") -> str:
    """Say in a sentence or two how much breaks, what breaks first, and what holds.

    On a hazard, what breaks is shown by a variant that does not fail on every large logit anyhow, if there is one.
    """
    every = [v for r in reports for v in r.verdicts]
    verdicts = [v for v in every if v.worst is not None]
    if not verdicts:
        return " ".join(f"{line}." for line in refusals(every))
    ran = dict.fromkeys(v.variant for v in verdicts)
    broken = [v for v in verdicts if v.grade is Grade.UNSTABLE]
    stable = [v for v in verdicts if v.grade is Grade.STABLE]
    compared = [v for v in verdicts if v.error_ulp is not None]
    sentences = []
    if broken:
        told = _telling(broken) if hazard and hazard not in _ON_LARGE_LOGITS else broken
        sentences += [_breaking(told, broken, ran), *_holding(broken, stable, verdicts, list(ran))]
    elif stable:
        sentences += [f"No {_kind(ran)[:-1]} breaks.", _losing(stable), *_accurate(verdicts, list(ran))]
    elif compared:
        worst = max(compared, key=lambda v: v.error_ulp or 0.0)
        where = f"{worst.variant} in {worst.format}"
        sentences.append(f"No {_kind(ran)[:-1]} breaks: the largest error is {worst.error_ulp:.3g} ulp, of {where}.")
    beyond = {v.format: v.shares.get(Outcome.INPUT_OVERFLOW, 0.0) for v in verdicts}
    for formats, logits in (
        ([name for name, share in beyond.items() if share == 1], "these logits"),
        ([name for name, share in beyond.items() if 0 < share < 1], "some of these logits"),
    ):
        if formats:
            sentences.append(f"{listed(formats)} cannot hold {logits}.")
    if not sentences:
        return "No row of this input has a value to compare: each holds NaN, +inf or nothing but -inf."
    if any(Outcome.UNDEFINED in v.shares for v in verdicts):
        sentences.append("Rows in which the formula has no value are left out.")
    return " ".join(sentences)


def _telling(broken: list[Verdict]) -> list[Verdict]:
    """Put those first that lose a result and do not fail on all large logits: they show what a hazard is about."""

    def says_little(verdict: Verdict) -> bool:
        assert verdict.worst is not None
        if verdict.worst.severity < Outcome.LOST.severity or is_built_in(verdict.variant):
            return True
        promises = get(verdict.variant).promises
        return any(promises[name].is_failure for name in _ON_LARGE_LOGITS if name in promises)

    return sorted(broken, key=says_little)


def _breaking(ordered: list[Verdict], broken: list[Verdict], ran: dict[str, None]) -> str:
    """Say how many break, and how the first of them does in its widest format."""
    names = dict.fromkeys(v.variant for v in broken)
    of_first = [v for v in broken if v.variant == ordered[0].variant]
    first = max(of_first, key=lambda v: get_format(v.format).precision)
    assert first.worst is not None
    formats = [v.format for v in of_first if v.worst is first.worst]
    where = ":" if len(formats) == 1 else f"; in {first.format},"
    return (
        f"{len(names)} of {len(ran)} {_kind(ran)} {'breaks' if len(names) == 1 else 'break'}. {first.variant} is "
        f"{OUTCOMES[first.worst].predicate} in {listed(formats)}{where} {first.cause}."
    )


def _holding(broken: list[Verdict], stable: list[Verdict], verdicts: list[Verdict], ran: list[str]) -> list[str]:
    """Say which formulas hold: the stable ones, of which some lose small values, and the accurate ones."""
    failing = {v.variant for v in broken}
    losing = {v.variant for v in stable} - failing
    sentences = []
    if losing:
        names = [name for name in ran if name in losing]
        keep = f"{few(names)} hold{'s' if len(names) == 1 else ''}"
        sentences.append(f"{keep}: {'it is' if len(names) == 1 else 'they are'} stable, and small values are lost.")
    return [*sentences, *_accurate([v for v in verdicts if v.variant not in failing], ran)]


def _losing(stable: list[Verdict]) -> str:
    """Say which formulas lose small values, and how the first of them does."""
    names = list(dict.fromkeys(v.variant for v in stable))
    first = max((v for v in stable if v.variant == names[0]), key=lambda v: get_format(v.format).precision)
    verb = "is stable, and loses small values" if len(names) == 1 else "are stable, and lose small values"
    return f"{few(names)} {verb}: {names[0]} in {first.format}, {first.cause}."


def _accurate(verdicts: list[Verdict], ran: list[str]) -> list[str]:
    """Name the accurate variants to turn to: the compensated ones, or else the first."""
    losing = {v.variant for v in verdicts if v.grade is not Grade.ACCURATE}
    accurate = [name for name in ran if name in {v.variant for v in verdicts} - losing]
    compensated = [name for name in ran if name.endswith("/compensated")]
    chosen = [name for name in compensated if name in accurate] or accurate[:3]
    errors = [v.error_ulp for v in verdicts if v.variant in chosen and v.error_ulp is not None]
    if not errors:
        return []
    subject = f"{listed(chosen)} {'is' if len(chosen) == 1 else 'are'} accurate"
    if len(compensated) > 1 and chosen == compensated:
        subject = "The compensated variants are accurate"
    return [f"{subject}: at most {max(errors):.2f} ulp."]


def _kind(names: Iterable[str]) -> str:
    """Say what these are: variants, or implementations where other libraries' are among them."""
    return "implementations" if any(is_built_in(name) for name in names) else "variants"


def league_finding(standouts: tuple[Standout, ...]) -> str:
    """Say in a few sentences how many implementations fail, how the first of them does, and which hold."""
    ran = [s for s in standouts if s.worst is not None]
    if not ran:
        return "Nothing was run."
    sentences = []
    for kind, theirs in (("built-in", True), ("variant", False)):
        group = [s for s in ran if is_built_in(s.implementation) is theirs]
        names = dict.fromkeys(s.implementation for s in group)
        failing = dict.fromkeys(s.implementation for s in group if s.failed)
        if failing:
            verb = "fails" if len(failing) == 1 else "fail"
            sentences.append(f"{len(failing)} of {counted(len(names), kind)} {verb} on a hazard.")
            if theirs or len(sentences) == 1:
                sentences.append(_worst_sentence([s for s in group if s.failed]))
        losing = {s.implementation for s in group if s.stable} - failing.keys()
        if losing:
            stable = [name for name in names if name in losing]
            verbs = ("holds", "loses") if len(stable) == 1 else ("hold", "lose")
            sentences.append(f"{few(stable)} {verbs[0]} on all, and {verbs[1]} small values.")
        accurate = [name for name in names if name not in losing | failing.keys()]
        if accurate:
            errors = [s.error_ulp for s in group if s.implementation in accurate and s.error_ulp is not None]
            most = f": at most {max(errors):.2f} ulp" if errors else ""
            sentences.append(f"{few(accurate)} {'is' if len(accurate) == 1 else 'are'} accurate on all{most}.")
    return " ".join(sentences)


def refusals(verdicts: Iterable[Verdict]) -> list[str]:
    """Say what was not run, a line for each reason.

    >>> from stablemax.results import Verdict
    >>> why = "takes no bfloat16"
    >>> refusals([Verdict("scipy/softmax", "bfloat16", "library", None, {}, skipped=why)])
    ['scipy/softmax was not run: it takes no bfloat16']
    """
    by_reason: dict[str, dict[str, None]] = {}
    for verdict in verdicts:
        if verdict.skipped:
            by_reason.setdefault(verdict.skipped, {})[verdict.variant] = None
    return [
        f"{few(list(names))} {'was not run: it' if len(names) == 1 else 'were not run: each'} {why}"
        for why, names in by_reason.items()
    ]


def few(names: list[str]) -> str:
    """Join the names of a short list; of a long one, the first two and how many more there are.

    >>> few(["a", "b", "c"]), few(["a", "b", "c", "d"])
    ('a, b and c', 'a, b and 2 more')
    """
    return listed(names) if len(names) <= 3 else listed([*names[:2], f"{len(names) - 2} more"])


def _worst_sentence(failing: list[Standout]) -> str:
    """Say how the implementation breaks that fails on the most hazards in the widest format."""
    widest = max(get_format(s.format).precision for s in failing)
    most = max((s for s in failing if get_format(s.format).precision == widest), key=lambda s: len(s.failed))
    assert most.worst is not None
    return (
        f"{most.implementation} is {OUTCOMES[most.worst].predicate} in {most.format} on {most.worst_hazard}"
        f" and fails on {len(most.failed)} of {most.judged}: {most.cause}."
    )
