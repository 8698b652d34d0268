"""A branch or a mask that rounding decides: the comparison that exact numbers answer otherwise, and why they do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stablemax.text.words import counted
from stablemax.trace.blame import BadCell, Traced, first_true, is_lost
from stablemax.trace.divergences import Divergence, of_none
from stablemax.trace.operation_words import line_words, root_words

if TYPE_CHECKING:
    from stablemax.trace.observation import Observation

_MAX_COMPARISONS_TRIED = 8


@dataclass(frozen=True)
class Branch:
    """A comparison that makes a bad result of a right formula, and the operation that lost what it compares."""

    comparison: Divergence
    root: Observation | None


def decisive_branch(bad: BadCell) -> Branch | None:
    """Find the comparison to blame for a bad cell; None where other branches would not have made it good.

    In exact arithmetic the code is right on the branches that exact numbers choose, and wrong on those that the floats
    chose.
    """
    subject, run = bad.traced.subject, bad.run
    if run.on_float_branches is None or run.exact is None or run.is_sampled:
        return None
    reading = bad.traced.expected.reading(run)
    if is_lost(run, reading, bad.cell):
        return None
    if not is_lost(replace(run, exact=run.on_float_branches), reading, bad.cell):
        return None

    def mends(comparison: Divergence) -> bool:
        alone = subject.led(run, lambda number: number == comparison.number)
        is_comparable = alone.exact is not None and alone.value.shape == run.value.shape
        return is_comparable and not is_lost(alone, reading, bad.cell)

    tried = run.divergences[:_MAX_COMPARISONS_TRIED]
    comparison = next(filter(mends, tried), tried[0])

    def agrees_after(count: int) -> bool:
        later = subject.led(run, of_none, count)
        again = next((d for d in later.divergences if d.number == comparison.number), None)
        return again is None or again.is_milder_than(comparison)

    last = first_true(comparison.steps, agrees_after)
    return Branch(comparison, None if last is None else run.steps[last - 1])


def branch_words(branch: Branch, traced: Traced) -> str:
    """Say which comparison goes the other way in exact arithmetic, on which numbers, and what made them differ."""
    comparison, fmt = branch.comparison, traced.subject.format.name
    of_many = f" for {comparison.cells:,} of {counted(comparison.size, 'cell')}" if comparison.size > 1 else ""
    numbers = " and ".join(
        f"{value:.6g}, exactly {exact}"
        for value, exact in zip(comparison.operands, comparison.exact, strict=True)
        if f"{value:.6g}" != exact
    )
    words = f"{line_words(comparison.site)}{comparison.text} "
    if comparison.answer is None:
        words += f"leads the code another way in {fmt} than in exact arithmetic"
    else:
        answer, other = ("true", "false") if comparison.answer else ("false", "true")
        words += f"is {answer} in {fmt} and {other} in exact arithmetic{of_many}"
    words = f"{words} ({numbers})" if numbers else words
    return words if branch.root is None else f"{words}; {root_words(branch.root, comparison.site.file)}"
