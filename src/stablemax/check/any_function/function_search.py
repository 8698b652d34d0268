"""The search of any function for the smallest input of its ranges that breaks it, format by format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.any_function.candidates import Effort, Inputs, draws, structured
from stablemax.check.any_function.input_ranges import RangedArgument
from stablemax.check.any_function.proofs import AnyFunction, Proofs
from stablemax.check.any_function.shrinking import Shrinking
from stablemax.check.any_function.thresholds import breaking_point
from stablemax.check.check_options import FAILURES, refuse_unknown
from stablemax.numerics.formats import FLOAT32, FLOAT64, format_of_array, get_format
from stablemax.results import BreakingPoint, Contract, Grade, Outcome, TriedFormat
from stablemax.results.checked import UNSTABLE_IN
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.ranges import check_max_ulp

if TYPE_CHECKING:
    from stablemax.check.any_function.judged_input import HeldTo, JudgedInput
    from stablemax.check.target.messages import Target
    from stablemax.numerics.formats import Array, Format


_MOST_TRACED = 3
"""Gradients without an exact value that are traced: a trace takes long."""
_MOST_CURED = 2
"""Inputs that explain an error for which better code is looked for."""


@dataclass(frozen=True)
class FunctionOptions:
    """What a function is held to, and on what inputs it is tried."""

    ranges: tuple[RangedArgument, ...]
    formats: tuple[Format, ...]
    max_ulp: float | None = None
    #: Outcomes that do not count, and formats in which it may be unstable.
    allow: tuple[str, ...] = ()
    #: Make the breaking input smaller.
    search: bool = True
    seed: int = 0
    require: Grade = Grade.STABLE
    #: By how much more inputs are tried than usual.
    effort: float = 1.0

    def __post_init__(self) -> None:
        check_max_ulp(self.max_ulp)
        object.__setattr__(self, "allow", tuple(map(_allowed, self.allow)))

    @property
    def contract(self) -> Contract:
        """The contract, as it is reported."""
        return Contract(self.max_ulp, self.allow, (), tuple(f.name for f in self.formats), self.require)


def _allowed(name: str) -> str:
    """Return what is allowed by the names of the tables; laws are about operations."""
    if name.startswith(UNSTABLE_IN):
        return f"{UNSTABLE_IN}{get_format(name.removeprefix(UNSTABLE_IN)).name}"
    refuse_unknown([name], (*FAILURES, f"{UNSTABLE_IN}FORMAT"), "--allow: there is no outcome", "one or more of")
    return name


def formats_to_try(target: Target, ranges: Sequence[RangedArgument]) -> tuple[Format, ...]:
    """Return the format of the first file of floats where there is one, else float32 and float64."""
    ranged = {one.name for one in ranges}
    files = [a.value for a in target.further if isinstance(a.value, np.ndarray) and a.name not in ranged]
    return next(((format_of_array(a),) for a in files if a.dtype.kind not in "biuOSU"), (FLOAT32, FLOAT64))


@dataclass(frozen=True, eq=False)
class Found:
    """What the search found in one format."""

    tried: TriedFormat
    proofs: Proofs
    #: An input that breaks the function, small where that was looked for, and what becomes of it; None without any.
    breaking: tuple[Inputs, JudgedInput] | None = None
    breaking_point: BreakingPoint | None = None
    #: The first input without an exact value.
    undefined: Inputs | None = None
    #: Why the first input was refused, and what the shadow could not follow first.
    refusal: tuple[str, str] = ("", "")
    not_followed: tuple[str, ...] = ()

    @property
    def has_evidence(self) -> bool:
        """True where some result could be held against an exact value."""
        return self.tried.proved > self.tried.undefined or self.tried.broken > 0

    @property
    def lack(self) -> str:
        """Why there is no evidence, by what became of most inputs."""
        tried = self.tried
        if tried.refused >= max(tried.not_followed, tried.undefined):
            return self.refusal[0]
        if tried.not_followed >= tried.undefined:
            what = self.not_followed[0]
            return f"exact arithmetic does not reach {what if what.startswith('the result') else f'its result: {what}'}"
        return "no input has a value in exact arithmetic"


@dataclass(frozen=True, eq=False)
class FormatSearch:
    """The search in one format."""

    function: AnyFunction
    options: FunctionOptions
    held_to: HeldTo
    format: Format
    #: Arrays of files, by name, as they are stored.
    files: Inputs
    #: Autograd's gradient of the function is judged.
    is_gradient: bool = False
    report: Callable[[str], None] | None = None

    def found(self) -> Found:
        """Try inputs, and prove those on which a fault would show first."""
        options, fmt = self.options, self.format
        fixed = {name: _rounded(array, fmt) for name, array in self.files.items()}
        proofs = Proofs(self.function, self.held_to, fmt, fixed)
        first = {one.name: one.drawn(fmt, options.seed) for one in options.ranges}
        effort = Effort.for_numbers(sum(a.size for a in {**fixed, **first}.values()), options.effort)
        self._say(f"trying inputs in {fmt.name}")
        simple = structured(options.ranges, fmt, options.seed, effort.proved)
        drawn = draws(options.ranges, fmt, options.seed, effort.drawn) if options.ranges else []
        order = np.argsort([-s for s in proofs.suspicions(drawn)], kind="stable")
        proved = [*simple, *(drawn[i] for i in order[: effort.suspects])]
        judged = proofs.of(proved)
        proofs, judged = self._asked_of_traces(proofs, proved, judged)
        found = Found(
            self._tried(judged, len(simple) + len(drawn)),
            proofs,
            undefined=next((one for one, j in zip(proved, judged, strict=True) if j.is_undefined), None),
            refusal=next((j.refusal for j in judged if j.refusal[0]), ("", "")),
            not_followed=next((j.not_followed for j in judged if j.not_followed), ()),
        )
        return replace(found, breaking=_worst(proved, judged))

    def _asked_of_traces(
        self, proofs: Proofs, inputs: Sequence[Inputs], judged: Sequence[JudgedInput]
    ) -> tuple[Proofs, list[JudgedInput]]:
        """Judge some inputs that count neither for nor against the code once more, by their traces.

        For a gradient without an exact value a derivative may exist, and for an error that the input explains there
        may be better code.
        """
        undefined = [i for i, one in enumerate(judged) if one.is_undefined][: _MOST_TRACED * self.is_gradient]
        asked = [*undefined, *[i for i, one in enumerate(judged) if one.is_ill_conditioned][:_MOST_CURED]]
        if not asked or any(one.is_broken for one in judged):
            return proofs, list(judged)
        asking = replace(proofs, held_to=replace(self.held_to, asks_trace=True), known={})
        again = dict(zip(asked, asking.of([inputs[i] for i in asked]), strict=True))
        if not any(one.is_broken for one in again.values()):
            return proofs, list(judged)
        return asking, [again.get(i, one) for i, one in enumerate(judged)]

    def _say(self, words: str) -> None:
        if self.report is not None:
            self.report(words)

    def _tried(self, judged: Sequence[JudgedInput], tried: int) -> TriedFormat:
        """Count what became of the inputs."""
        contract, name = self.options.contract, self.format.name
        broken = [j for j in judged if j.is_broken]
        small = sum(j.loses_small for j in judged)
        grade = Grade.UNSTABLE if broken else Grade.STABLE if small else Grade.ACCURATE
        is_allowed = grade is Grade.UNSTABLE and contract.allows_unstable_in(name)
        errors = [j.error_ulp for j in judged if j.error_ulp is not None]
        return TriedFormat(
            name,
            grade,
            tried=tried,
            proved=sum(j.is_proved for j in judged),
            broken=len(broken),
            undefined=sum(j.is_undefined for j in judged),
            ill_conditioned=sum(j.is_ill_conditioned for j in judged),
            loses_small=small,
            refused=sum(bool(j.refusal[0]) for j in judged),
            not_followed=sum(bool(j.not_followed) for j in judged),
            worst=max((j.outcome for j in broken), key=lambda o: o.severity, default=Outcome.OK),
            error_ulp=max(errors, default=None),
            failed=not is_allowed and not contract.is_met_by(grade),
        )


def shrunk(found: Found, ranges: Sequence[RangedArgument]) -> Found:
    """Make the breaking input small, and look for the number from which on it breaks."""
    if found.breaking is None or not ranges:
        return found
    inputs, model = found.breaking
    inputs = Shrinking(found.proofs, ranges, model).smallest(inputs)
    (judged,) = found.proofs.of([inputs])
    point = breaking_point(found.proofs, ranges, inputs, model)
    return replace(found, breaking=(inputs, judged), breaking_point=point)


def _worst(inputs: Sequence[Inputs], judged: Sequence[JudgedInput]) -> tuple[Inputs, JudgedInput] | None:
    """Return the first of the inputs with the worst outcome; None where none breaks the function."""
    broken = [(one, j) for one, j in zip(inputs, judged, strict=True) if j.is_broken]
    # Of two kinds of failure the rarer one may be a whim of an extreme input: the worse is looked at all the same.
    return max(broken, key=lambda pair: pair[1].outcome.severity, default=None)


def _rounded(array: Array, fmt: Format) -> Array:
    """Round an array of floats to a format; integers stay."""
    return array if array.dtype.kind in "biuOSU" else fmt.cast(array)


def refuse_without_evidence(name: str, found: Sequence[Found]) -> None:
    """Raise `StablemaxError` where no input could be held against exact arithmetic, or none has a value."""
    if any(one.has_evidence for one in found):
        return
    first = found[0]
    if first.lack == first.refusal[0]:
        raise StablemaxError(*first.refusal)
    hint = "stablemax trace shows how far the code is followed; --arg gives it other numbers"
    raise StablemaxError(f"nothing is known of {shown(name)}: {first.lack}", hint)
