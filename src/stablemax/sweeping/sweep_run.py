"""The workflow of a sweep: formulas along one quantity, format by format."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stablemax.check.target.forked_process import may_be_forked
from stablemax.check.target.interpreter_state import kept_surroundings
from stablemax.check.target.load import is_code, module_and_name
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import LoadedTarget, NoAnswerError, Target
from stablemax.check.target.process_exit import exits_refused
from stablemax.check.target.subprocess_target import MEMORY_BYTES, SubprocessTarget
from stablemax.libraries import find
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Format
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant
from stablemax.results import SumStall, Sweep, SweptLine
from stablemax.sweeping.breaking_points import changes_of, in_order, picture_values, scanned_values
from stablemax.sweeping.panel import Panel, VariantPanel
from stablemax.sweeping.sweep_finding import finding_of
from stablemax.sweeping.sweep_options import DEFAULT_FORMATS, SweepOptions
from stablemax.sweeping.target_panel import TargetPanel, prepared
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation

Progress = Callable[[int, int, str], None]


def sweep_variants(options: SweepOptions, *, command: tuple[str, ...] = (), progress: Progress | None = None) -> Sweep:
    """Sweep our variants, and libraries' built-ins."""
    return _of_plan(options.plan(), options, command, progress)


def _of_plan(
    plan: dict[Operation, tuple[Variant, ...]],
    options: SweepOptions,
    command: tuple[str, ...],
    progress: Progress | None,
) -> Sweep:
    formats = options.formats or DEFAULT_FORMATS
    panels, skipped = _variant_panels(plan, formats, options)
    return _sweep(panels, formats, options, command, progress, skipped=skipped)


def sweep_code(
    target: Target,
    options: SweepOptions,
    *,
    function: Callable[..., Any] | None = None,
    timeout_s: float = 60.0,
    memory_bytes: int | None = MEMORY_BYTES,
    command: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Sweep:
    """Sweep what a target names: a variant, or somebody's code in a process of its own; or a function at hand."""
    if function is None and not is_code(target.name):
        variant = find(target.name)
        if target.operation not in (None, variant.operation):
            raise StablemaxError(
                f"{variant.id} does not compute {target.operation}", f"it computes {variant.operation}"
            )
        plan = {variant.operation: (variant,), **_beside(options, variant.operation, variant)}
        return _of_plan(plan, options, command, progress)
    if function is not None and not may_be_forked(function, target.backend):
        with exits_refused(), kept_surroundings():
            return _of_target(load_local(target, function), options, command, progress)
    with SubprocessTarget(target, timeout_s, memory_bytes, function) as loaded:
        try:
            return _of_target(loaded, options, command, progress)
        except NoAnswerError as error:
            raise StablemaxError(f"{target.name} {error}", "give it more time: --timeout 600") from None


def sweep_function(function: Callable[..., Any] | str, options: SweepOptions) -> Sweep:
    """Sweep a function at hand, or what its name says."""
    operation = options.operations[0] if options.operations else None
    if isinstance(function, str):
        return sweep_code(Target(function, operation), options)
    return sweep_code(Target(module_and_name(function)[1], operation), options, function=function)


def _of_target(
    target: LoadedTarget, options: SweepOptions, command: tuple[str, ...], progress: Progress | None
) -> Sweep:
    """Sweep somebody's code, and the variants that are asked for beside it."""
    quantity, run = options.quantity, prepared(target, options.formats, options.max_ulp)
    name, operation = run.target.info.name, run.target.info.operation
    if not quantity.concerns(operation):
        raise StablemaxError(f"{name} computes {operation}, which is not swept over {options.over}", "--over scale")
    if not run.formats:
        reasons = "; ".join(f"in {fmt} it {reason}" for fmt, reason in run.refusals.items())
        raise StablemaxError(f"{name} gives no answer to sweep: {reasons}", f"stablemax check {name}")
    formats = tuple(run.formats)
    panels: list[Panel] = [TargetPanel(quantity, run, f, keeps_values=options.keeps_values) for f in formats]
    beside, skipped = _variant_panels(_beside(options, operation), formats, options)
    return _sweep([*panels, *beside], formats, options, command, progress, notes=run.notes, skipped=skipped)


def _beside(
    options: SweepOptions, operation: Operation, but: Variant | None = None
) -> dict[Operation, tuple[Variant, ...]]:
    """Return the variants that are asked for beside a target, of its operation where nothing else is said."""
    if not (options.patterns or options.built_ins):
        return {}
    plan = replace(options, operations=options.operations or (operation,)).plan()
    return {o: kept for o, chosen in plan.items() if (kept := tuple(v for v in chosen if v is not but))}


def _variant_panels(
    plan: dict[Operation, tuple[Variant, ...]], formats: Sequence[Format], options: SweepOptions
) -> tuple[list[Panel], list[SweptLine]]:
    """Set up the variants of each operation in each format, without those that do not run in it."""
    panels: list[Panel] = []
    skipped: list[SweptLine] = []
    for fmt in formats:
        for operation, variants in plan.items():
            reasons = [(v, v.refusal(fmt.name, 1)) for v in variants]
            skipped += [SweptLine(operation.name, v.id, fmt.name, "", (), skipped=why) for v, why in reasons if why]
            running = [v for v, why in reasons if not why]
            if running:
                panels.append(
                    VariantPanel(
                        *(options.quantity, operation, running, fmt, options.accumulation, options.max_ulp),
                        keeps_values=options.keeps_values,
                    )
                )
    return panels, skipped


def _sweep(
    panels: Sequence[Panel],
    formats: tuple[Format, ...],
    options: SweepOptions,
    command: tuple[str, ...],
    progress: Progress | None,
    *,
    notes: Sequence[str] = (),
    skipped: Sequence[SweptLine] = (),
) -> Sweep:
    """Take every panel through the range."""
    quantity = options.quantity
    lines, stalls = list(skipped), _stalls(formats, options)
    for done, panel in enumerate(panels):
        if progress is not None:
            progress(done, len(panels), f"{panel.operation} in {panel.format.name}")
        lines += _lines(panel, options)
    order = {fmt.name: i for i, fmt in enumerate(formats)}
    lines.sort(key=lambda line: order[line.format])
    return Sweep(
        over=quantity.name,
        meaning=quantity.meaning,
        noun=quantity.noun,
        is_log=options.by_factor,
        is_whole=quantity.is_whole,
        formats=tuple(fmt.name for fmt in formats),
        lines=tuple(lines),
        max_ulp=options.max_ulp,
        finding=finding_of(lines, quantity.noun, stalls, to_the_end=options.to_the_end and not quantity.is_whole),
        command=command,
        to_the_end=options.to_the_end and not quantity.is_whole,
        stalls=stalls,
        notes=(*notes, *(f"{line.variant} is not run in {line.format}: it {line.skipped}" for line in skipped)),
        libraries=options.libraries(),
    )


def _lines(panel: Panel, options: SweepOptions) -> list[SweptLine]:
    """Judge the formulas of a panel at the values of the picture, scan the rest of the range, and bisect."""
    quantity, fmt = options.quantity, panel.format
    numbers = quantity.numbers(fmt)
    low, high = map(numbers.nearest, options.searched(fmt))
    wanted = options.values or picture_values(options.shown(fmt), options.step_count, by_factor=options.by_factor)
    # What is rounded to 0 is no temperature, and has no place on an axis of factors.
    least = max(quantity.limits[0], fmt.smallest_subnormal if options.by_factor else -math.inf)
    shown = [value for value in dict.fromkeys(map(numbers.nearest, wanted)) if value >= least]
    if not shown:
        raise StablemaxError(
            f"{fmt.name} has no {quantity.noun} from {wanted[0]:g} to {wanted[-1]:g}: it rounds them to 0",
            f"leave {fmt.name} out, or take a range above its smallest number, {fmt.smallest_subnormal:g}",
        )
    others = (value for value in scanned_values(quantity, fmt, (low, high)) if numbers.nearest(value) >= least)
    scanned = in_order((*shown, *others), numbers)
    # What is beyond the format is judged once, and shown wherever the picture has such a value.
    beyond = [value for value in shown if value not in set(scanned)]
    judged = panel.judged([*scanned, *beyond], range(len(panel.names)))
    changes = changes_of(panel, numbers, [points[: len(scanned)] for points in judged.values()])
    lines = []
    for i, points in judged.items():
        by_value = {point.value: point for point in points}
        lines.append(
            SweptLine(
                operation=panel.operation.name,
                variant=panel.names[i],
                format=fmt.name,
                accumulation=panel.accumulations[i],
                points=tuple(by_value[value] for value in shown),
                breaks=tuple(change for change in changes[i] if change.is_break),
                changes=tuple(changes[i]),
                searched=(low, high),
                scanned=len(scanned),
                mean=panel.means[i],
            )
        )
    return lines


def _stalls(formats: Sequence[Format], options: SweepOptions) -> tuple[SumStall, ...]:
    """Find for whole numbers of equal terms where their sequential sum stops growing."""
    if options.accumulation is not Accumulation.SEQUENTIAL or not options.quantity.is_whole:
        return ()
    stalls = []
    for fmt in formats:
        ones = Arithmetic(fmt).array(np.ones(int(options.searched(fmt)[1])))
        sums = np.add.accumulate(ones).astype(np.float64)
        same = np.flatnonzero(sums[1:] == sums[:-1])
        if same.size:
            stalls.append(SumStall(fmt.name, int(same[0]) + 1, float(sums[same[0]])))
    return tuple(stalls)
