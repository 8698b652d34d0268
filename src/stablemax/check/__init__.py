"""Judge anybody's implementation: every hazard, the laws, a search, the line to blame and what cures it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stablemax.check import advice, dimension_steps, shape_steps, steps
from stablemax.check.check_options import CheckOptions
from stablemax.check.check_report import report_of
from stablemax.check.steps import CheckRun
from stablemax.check.target.forked_process import may_be_forked
from stablemax.check.target.interpreter_state import kept_surroundings
from stablemax.check.target.local import load_local
from stablemax.check.target.process_exit import exits_refused
from stablemax.check.target.subprocess_target import MEMORY_BYTES, SubprocessTarget
from stablemax.results import CheckReport
from stablemax.text.ranges import check_timeout

if TYPE_CHECKING:
    from stablemax.check.target.messages import Target

__all__ = ["STEPS", "CheckOptions", "check", "check_at_hand", "check_function"]

STEPS: tuple[Callable[[CheckRun], None], ...] = (
    steps.accept_formats,  # in which an easy input is answered at all
    steps.repeat_a_call,  # the same input twice: is the output the same?
    steps.note_call_style,  # f(x), f(x, axis=-1), or one row at a time
    steps.find_reduction,  # is its number the mean of the losses, or their sum?
    steps.note_refused_formats,
    steps.try_hazards,  # each in each format
    shape_steps.try_shapes,  # tiles, tails, row blocks, strides: in float32
    shape_steps.compare_batches,  # a row alone and among others
    dimension_steps.try_dimensions,  # one, three and four, with the classes on the last axis or on axis 1
    steps.try_laws,  # in each format
    steps.search_smallest_failure,  # fewest classes, then roundest numbers
    steps.blame_a_line,  # trace it on the smallest failure
    steps.run_formula_test,  # is it wrong in exact arithmetic, too?
    shape_steps.run_shapes_exactly,  # or at a shape, in exact arithmetic or in float64?
    dimension_steps.try_integers,  # NumPy code, on integers as people type them
    advice.recognise_mistake,  # which known mistake gives the same numbers?
    steps.find_cure,  # the simplest variant that keeps the contract
    advice.write_instead,  # code that holds on the input that failed
    steps.write_reproducer,  # Python to paste, and a test
)
"""The whole check: each step reads what the earlier ones left in the run, and adds its own findings."""


def check(
    target: Target,
    options: CheckOptions | None = None,
    *,
    timeout_s: float = 10.0,
    memory_bytes: int | None = MEMORY_BYTES,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> CheckReport:
    """Judge an implementation in a process of its own: it may raise, hang, print or crash.

    `timeout_s` limits one call, and `memory_bytes` what it takes beyond its imports; `command` reproduces the
    check; `progress` is called with the steps done, the steps in all and what runs now.
    """
    check_timeout(timeout_s)
    with SubprocessTarget(target, timeout_s, memory_bytes) as loaded:
        run = CheckRun(loaded, options or CheckOptions(), backward=target.backward, report_progress=progress)
        return _report(run, command)


def check_at_hand(
    function: Callable[..., Any],
    target: Target,
    options: CheckOptions | None = None,
    *,
    timeout_s: float = 10.0,
    memory_bytes: int | None = MEMORY_BYTES,
) -> CheckReport:
    """Judge a function that is at hand: in a forked process where that can be, and else in this one.

    In this process neither time nor memory is limited.
    """
    check_timeout(timeout_s)
    if not may_be_forked(function, target.backend):
        return check_function(function, target, options)
    with SubprocessTarget(target, timeout_s, memory_bytes, function) as loaded:
        return _report(CheckRun(loaded, options or CheckOptions(), backward=target.backward), ())


def check_function(
    function: Callable[..., Any] | None, target: Target, options: CheckOptions | None = None
) -> CheckReport:
    """Judge a function that is at hand, or what a target names where it is None, in this process."""
    with exits_refused(), kept_surroundings():
        run = CheckRun(load_local(target, function), options or CheckOptions(), backward=target.backward)
        return _report(run, ())


def _report(run: CheckRun, command: tuple[str, ...]) -> CheckReport:
    for step in STEPS:
        step(run)
    return report_of(run, command)
