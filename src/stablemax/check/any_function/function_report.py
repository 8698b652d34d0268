"""The report on any function, and its result in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import get_format
from stablemax.numerics.ordered_numbers import shortest
from stablemax.results import BreakingInput, BreakingPoint, FunctionCheck, GivenArray, Grade, Trace, TriedFormat
from stablemax.results.checked import UNSTABLE_IN
from stablemax.text.vocabulary import NO_OPERATION
from stablemax.text.words import counted, listed
from stablemax.trace.given_arguments import indexed

if TYPE_CHECKING:
    from stablemax.check.any_function.function_search import Found, FunctionOptions
    from stablemax.check.any_function.pasted_test import Pasted

_FEW_NUMBERS = 6


def breaking_input(found: Found, pasted: Pasted) -> BreakingInput:
    """Write the smallest breaking input down."""
    assert found.breaking is not None, "an input breaks it"
    inputs, judged = found.breaking
    return BreakingInput(
        found.tried.format,
        tuple(_given_array(name, array) for name, array in found.proofs.whole(inputs).items()),
        judged.outcome,
        indexed("result", [int(i) for i in np.unravel_index(judged.cell, judged.value.shape)]),
        float(judged.value.astype(np.float64).ravel()[judged.cell]),
        float(judged.truth.ravel()[judged.cell]),
        found.breaking_point,
        pasted.code,
        pasted.test,
    )


def _given_array(name: str, array: np.ndarray) -> GivenArray:
    return GivenArray(name, array.dtype.name, array.shape, tuple(array.astype(np.float64).ravel().tolist()))


def function_report(
    name: str,
    options: FunctionOptions,
    found: Sequence[Found],
    example: BreakingInput | None,
    trace: Trace | None,
    *,
    is_gradient: bool = False,
    **about: object,
) -> FunctionCheck:
    """Put the findings of all formats together."""
    blame = None if trace is None else trace.blame
    tried = tuple(one.tried for one in found)
    failed = [one.grade for one in tried if one.failed]
    held_to = [one.grade for one in tried if not options.contract.allows_unstable_in(one.format)]
    counted_grades = failed or held_to or [one.grade for one in tried]
    report = FunctionCheck(
        target=name,
        operation=NO_OPERATION,
        grade=Grade.worst_of(counted_grades),
        finding="",
        formats=tried,
        counterexample=example,
        blame=blame.sentence if blame else "",
        blame_file=blame.file if blame else "",
        blame_line=blame.line if blame else 0,
        instead=trace.instead if trace else "",
        instead_why=trace.instead_why if trace else "",
        contract=options.contract,
        **about,  # type: ignore[arg-type]
    )
    return replace(report, finding=_finding(report, is_gradient=is_gradient))


def _finding(report: FunctionCheck, *, is_gradient: bool) -> str:
    sentences = [f"{report.target} is {_by_format(report.formats)}."]
    example = report.counterexample
    if example is None:
        return " ".join([*sentences, *_keeps(report), *_undefined(report)])
    of_format = next(one for one in report.formats if one.format == example.format)
    sentences = [
        f"{report.target} is {_by_format(report.formats)}: {counted(of_format.broken, 'input')} of "
        f"{of_format.proved:,} {'breaks' if of_format.broken == 1 else 'break'} it in {example.format}.",
        _result_words(example, is_gradient=is_gradient),
    ]
    if example.breaking_point is not None:
        sentences.append(_breaking_words(example.breaking_point, example.format))
    if report.blame:
        is_named = Path(report.blame_file).name in report.target
        where = "" if is_named else f"{Path(report.blame_file).name}, "
        blame = f"{where}{report.blame}"
        sentences.append(f"{blame[0].upper()}{blame[1:]}." if is_named else f"{blame}.")
    return " ".join(sentences)


def _by_format(tried: Sequence[TriedFormat]) -> str:
    """Say which grade it has in which formats, the worst first."""
    names: dict[Grade, list[str]] = {}
    for one in sorted(tried, key=lambda one: -one.grade.severity):
        names.setdefault(one.grade, []).append(one.format)
    return listed([f"{grade} in {listed(formats)}" for grade, formats in names.items()])


def _keeps(report: FunctionCheck) -> list[str]:
    """Say what code that holds keeps, and what the verdict rests on."""
    limit = "more than half of its digits" if report.contract.max_ulp is None else f"{report.contract.max_ulp:g} ulp"
    kept = "keeps" if report.contract.max_ulp is None else "is within"
    on_scale = " on the scale of the result" if report.grade is Grade.STABLE else ""
    is_conditioned = any(one.ill_conditioned for one in report.formats)
    but = ", except where a few roundings of the inputs change the exact result as much" if is_conditioned else ""
    allowed = [name for name in report.contract.allow if not name.startswith(UNSTABLE_IN)]
    but += f", but for what is allowed: {listed(allowed)}" if allowed else ""
    proved = listed([f"{one.proved:,} in {one.format}" for one in report.formats])
    return [
        f"Every result {kept} {limit}{on_scale}{but}.",
        f"Inputs in the ranges that were held against exact arithmetic on the same code: {proved}.",
    ]


def _undefined(report: FunctionCheck) -> list[str]:
    """Say on how many inputs nothing is right, in the format where these are most."""
    most = max(report.formats, key=lambda one: one.undefined)
    if not most.undefined:
        return []
    has = "has" if most.undefined == 1 else "have"
    without = f"{most.undefined:,} {has} no number of the format for a result in exact arithmetic either"
    return [f"Of the {most.proved:,} in {most.format}, {without}."]


def _result_words(example: BreakingInput, *, is_gradient: bool) -> str:
    """Say what comes out of the smallest input, and what is right."""
    right = f"{example.truth:.6g} is right"
    if np.isnan(example.truth):
        right = "there is a derivative" if is_gradient else "the input has no infinity"
    place = "" if example.place == "result" else f" ({example.place})"
    return f"At {_input_words(example)} it gives {example.output:.6g} where {right}{place}."


def _input_words(example: BreakingInput) -> str:
    """Name the numbers of a small input, or the shapes of a large one."""
    numbers = sum(len(array.values) for array in example.arguments)
    return listed([_array_words(array, spelled_out=numbers <= _FEW_NUMBERS) for array in example.arguments])


def _array_words(array: GivenArray, *, spelled_out: bool) -> str:
    if not spelled_out:
        return f"{array.name} of shape {array.shape}"
    values = np.array([_shortest(v, array.dtype) for v in array.values], dtype=object).reshape(array.shape)
    return f"{array.name} = {str(values.tolist()).replace(chr(39), '')}"


def _shortest(value: float, dtype: str) -> str:
    return (
        shortest(value, get_format(dtype)) if np.isfinite(value) and dtype.startswith(("float", "bf")) else f"{value:g}"
    )


def _breaking_words(point: BreakingPoint, fmt: str) -> str:
    holds, breaks = (shortest(v, get_format(fmt)) for v in (point.holds, point.breaks))
    if point.until is None or point.until == point.breaks:
        return f"{point.number} = {breaks} breaks it, and its neighbour {holds} does not."
    if abs(point.until) < abs(point.breaks):
        until = shortest(point.until, get_format(fmt))
        return f"It breaks from {point.number} = {breaks} down to {until}; its neighbour {holds} holds."
    return f"It breaks from {point.number} = {breaks} on; its neighbour {holds} holds."


def evidence_notes(found: Sequence[Found], reason: str) -> tuple[str, ...]:
    """Say what became of the inputs that count neither for the code nor against it.

    `reason` is why the first input without a value has none.
    """
    notes: list[str] = []
    for one in found:
        tried, fmt = one.tried, one.tried.format
        if tried.undefined and one.proofs.held_to.asks_trace:
            notes.append(
                f"{counted(tried.undefined, 'further input')} in {fmt} without a value in exact arithmetic: "
                "whether the function has a derivative there was not looked at"
            )
        elif tried.undefined:
            why, reason = f"; the first: {reason}" if reason else "", ""
            has, are = ("has", "is") if tried.undefined == 1 else ("have", "are")
            notes.append(
                f"{counted(tried.undefined, 'input')} in {fmt} {has} no number of the format for a result in exact "
                f"arithmetic either, and {are} to blame{why}"
            )
        if tried.ill_conditioned:
            notes.append(
                f"{counted(tried.ill_conditioned, 'input')} in {fmt} {'is' if tried.ill_conditioned == 1 else 'are'} "
                "ill-conditioned: a few roundings of the input change the exact result as much as the code is off"
            )
        if tried.loses_small:
            notes.append(
                f"{counted(tried.loses_small, 'input')} in {fmt}: numbers far below the largest of the result lose "
                "their digits; --require accurate holds code to them"
            )
        if tried.refused:
            notes.append(f"{counted(tried.refused, 'input')} in {fmt} refused: {one.refusal[0]}")
        if tried.not_followed:
            notes.append(f"{counted(tried.not_followed, 'input')} in {fmt} not followed: {one.not_followed[0]}")
    return tuple(notes)


def notes_without_evidence(found: Sequence[Found]) -> tuple[str, ...]:
    """Say of formats in which nothing could be told why that is so."""
    return tuple(f"nothing is told of {one.tried.format}: {one.lack}" for one in found)


def worst_found(found: Sequence[Found]) -> Found | None:
    """Return the format whose breaking input is shown: one that counts, with the worst outcome, the first of such."""
    broken = [(one, one.breaking[1].outcome) for one in found if one.breaking is not None]
    return max(broken, key=lambda pair: (pair[0].tried.failed, pair[1].severity), default=(None, None))[0]
