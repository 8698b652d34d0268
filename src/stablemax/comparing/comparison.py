"""Run variants over an input in several formats and judge every one against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stablemax.comparing.block_verdicts import BLOCK_CELLS, BlockJudge, blocks_of_case
from stablemax.comparing.overview import overview_finding
from stablemax.comparing.summary import finding, refusals
from stablemax.hazards.catalogue import Hazard
from stablemax.inputs.logits import Problem
from stablemax.inputs.second_array import second_array
from stablemax.libraries import version
from stablemax.libraries.array_api import Backend
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array, Format
from stablemax.operations import all_operations, default_operations
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import kept_rows
from stablemax.operations.variant import Variant, matches, matching
from stablemax.results import Comparison, InputSummary, OperationReport, Verdict
from stablemax.text.errors import StablemaxError
from stablemax.text.ranges import check_judge, check_max_ulp, check_range
from stablemax.text.vocabulary import IGNORED, Accumulation, Reduction, Upstream
from stablemax.truth.case import Case, Shared, case_of, setting_of
from stablemax.truth.sampling import hazard_summary, input_summary, judged_rows
from stablemax.truth.verdicts import LIBRARY_SUMS, variant_verdict

DEFAULT_FORMATS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)


@dataclass(frozen=True)
class CompareOptions:
    """The variants, formats and rows of a comparison, and how its results are judged."""

    #: Columns of the tables.
    formats: tuple[Format, ...] = DEFAULT_FORMATS
    #: Empty for all that the input allows.
    operations: tuple[Operation, ...] = ()
    #: Globs of variant names or ids; empty for all.
    patterns: tuple[str, ...] = ()
    #: The main formulas of the main operations alone, where no operation and no pattern is given.
    overview: bool = False
    #: How sums are added; each format's ordinary kernel when not given.
    accumulation: Accumulation | None = None
    #: Errors above are inaccurate; half of the format's bits when not given.
    max_ulp: float | None = None
    #: How many rows to judge, the extreme ones among them; None for all.
    judge: int | None = None
    #: Mean or sum: what the gradient is the gradient of.
    reduction: Reduction = Reduction.MEAN
    #: How many rows of each output to keep.
    show_values: int = 0
    #: Rows with this label are left out of the cross-entropies.
    ignore_index: int | None = IGNORED
    #: Upstream gradient of the vector-Jacobian product.
    upstream: Upstream = Upstream.NORMAL
    #: Of a normal upstream gradient.
    upstream_seed: int = 0
    #: Of other libraries; added to ours, and chosen among where a pattern names one of them.
    built_ins: tuple[Variant, ...] = ()
    #: What our variants run on; NumPy when not given.
    backend: Backend | None = None

    def __post_init__(self) -> None:
        if not self.formats:
            raise StablemaxError("no number format is given", f"one or more of: {', '.join(FORMATS)}")
        check_max_ulp(self.max_ulp)
        check_judge(self.judge)
        if self.reduction is Reduction.NONE:
            raise StablemaxError("--reduction none has no one gradient", "use mean or sum")
        check_range("--show-values", self.show_values, 0, math.inf, "0 or more")

    @property
    def asked_operations(self) -> tuple[Operation, ...]:
        """The operations that are asked for; without any, those by default and those that a pattern names."""
        if self.operations:
            return self.operations
        if self.is_overview:
            return tuple(o for o in all_operations() if o.in_overview)
        prefixes = {pattern.partition("/")[0] for pattern in self.patterns if "/" in pattern}
        return tuple(o for o in all_operations() if o.by_default or o.name in prefixes)

    @property
    def is_overview(self) -> bool:
        """True where nothing but the main formulas is asked for."""
        return self.overview and not (self.operations or self.patterns)

    def implementations(self, operation: Operation) -> tuple[Variant, ...]:
        """Return what to run of an operation: the libraries' built-ins after our variants."""
        patterns = operation.main_variants if self.is_overview else self.patterns
        named = [b for b in self.built_ins if matches(b.id, self.patterns)]
        theirs = (b for b in named or self.built_ins if b.operation is operation)
        return (*matching(operation, patterns), *theirs)

    def plan(self, operations: tuple[Operation, ...]) -> dict[Operation, tuple[Variant, ...]]:
        """Return what to run, by operation."""
        by_operation = {o: chosen for o in operations if (chosen := self.implementations(o))}
        every = [v for chosen in by_operation.values() for v in chosen]
        if not any(not v.library or matches(v.id, self.patterns) for v in every) and (self.patterns or not every):
            raise StablemaxError(
                f"no variant of {', '.join(map(str, operations))} matches {', '.join(self.patterns)}",
                "stablemax list variants",
            )
        return by_operation

    @property
    def backend_name(self) -> str:
        """On whose arrays our variants run."""
        return "numpy" if self.backend is None else self.backend.library

    @property
    def device(self) -> str:
        """Where they run; empty for the library's own choice."""
        return "" if self.backend is None else self.backend.device or ""

    def accumulations(self) -> dict[str, str]:
        """How our variants' sums are added, by format."""
        if self.backend is not None and self.accumulation is None:
            return dict.fromkeys((f.name for f in self.formats), LIBRARY_SUMS)
        return {f.name: Arithmetic(f, self.accumulation).policy.value for f in self.formats}

    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that take part."""
        names = [b.library for b in self.built_ins] + ([] if self.backend is None else [self.backend.library])
        return {name: version(name) for name in names}


def compare_problem(
    problem: Problem,
    options: CompareOptions | None = None,
    *,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Judge variants on a problem."""
    options = options or CompareOptions()
    rows = judged_rows(problem.logits, options.judge)
    notes = list(problem.notes)
    total = problem.logits.shape[0]
    if rows.size < total:
        notes.append(f"errors judged on {rows.size:,} of {total:,} rows")
    cases, skipped = _cases(problem, rows, options)
    if not cases:
        raise StablemaxError("; ".join(skipped), "give other labels, or another --ignore-index")
    plan = options.plan(tuple(c.operation for c in cases))
    summary = input_summary(problem.logits, rows, *(source.name for source in problem.sources))
    return _comparison(
        summary, plan, dict.fromkeys(options.formats, cases), options, command, progress, notes=[*notes, *skipped]
    )


def compare_hazard(
    hazard: Hazard,
    options: CompareOptions | None = None,
    *,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Judge variants on a hazard, in each format on its own logits.

    >>> from stablemax.hazards.catalogue import HAZARDS
    >>> result = compare_hazard(HAZARDS["collapse"], CompareOptions(patterns=("cross_entropy/*",), formats=(FLOAT32,)))
    >>> [v.variant for v in result.verdicts if v.worst == "ok"]
    ['cross_entropy/compensated', 'cross_entropy/wide']
    """
    options = options or CompareOptions()
    # A hazard of operations that none asks for by default is run on all that it concerns.
    asked = options.asked_operations if options.is_overview else default_operations()
    by_default = tuple(o for o in asked if o in hazard.operations) or hazard.operations
    wanted = tuple(o for o in options.operations or by_default if o in hazard.operations)
    if not wanted:
        raise StablemaxError(
            f"hazard {hazard.name} does not concern {', '.join(map(str, options.operations))}",
            f"it concerns {', '.join(map(str, hazard.operations))}",
        )
    cases = {fmt: [hazard_case(hazard, o, fmt, options.reduction) for o in wanted] for fmt in options.formats}
    logits = {fmt: of_format[0].logits for fmt, of_format in cases.items()}
    summary = hazard_summary(f"hazard {hazard.name}: {hazard.reason}", logits)
    return _comparison(
        summary, options.plan(wanted), cases, options, command, progress, needs=hazard.needs, hazard=hazard.name
    )


def hazard_case(hazard: Hazard, operation: Operation, fmt: Format, reduction: Reduction = Reduction.MEAN) -> Case:
    """Return a hazard's input for an operation in a format."""
    case = case_of(hazard.case(fmt), operation)
    return case if reduction is Reduction.MEAN else replace(case, divisor=1.0)


def verdicts_on(
    cases: Iterable[Case],
    fmt: Format,
    plan: Mapping[Operation, tuple[Variant, ...]],
    options: CompareOptions,
    needs: tuple[str, ...] = (),
    *,
    may_flush: bool = False,
    advance: Callable[[int, str], None] = lambda _count, _text: None,
) -> Iterator[Verdict]:
    """Judge in one format what is planned of each case's operation; `advance` is told how many steps are done."""
    shared = Shared(fmt)
    for case in cases:
        if case.operation not in plan:
            continue
        if len(blocks_of_case(case)) > 1:
            limits = (options.accumulation, options.max_ulp, options.show_values, options.backend, needs, may_flush)
            yield from BlockJudge(case, fmt, *limits).verdicts(plan[case.operation], advance)
            continue
        advance(0, f"{case.operation} in {fmt.name}: the truth")
        setting = setting_of(case, shared, options.accumulation)
        advance(2, f"{case.operation} in {fmt.name}")
        for variant in plan[case.operation]:
            yield variant_verdict(
                variant,
                setting,
                max_ulp=options.max_ulp,
                show_values=options.show_values,
                backend=options.backend,
                needs=needs,
                may_flush=may_flush,
            )
            advance(1, f"{variant.id} in {fmt.name}")


def _comparison(
    summary: InputSummary,
    plan: Mapping[Operation, tuple[Variant, ...]],
    cases: Mapping[Format, list[Case]],
    options: CompareOptions,
    command: tuple[str, ...],
    progress: Callable[[int, int, str], None] | None,
    *,
    needs: tuple[str, ...] = (),
    notes: Iterable[str] = (),
    hazard: str = "",
) -> Comparison:
    """Judge everything that is planned, in every format."""
    steps = sum(
        (len(plan[case.operation]) + 2) * len(blocks_of_case(case))
        for of_format in cases.values()
        for case in of_format
        if case.operation in plan
    )
    done = 0

    def advance(count: int, text: str) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, steps, text)

    verdicts = [
        v
        for fmt, of_format in cases.items()
        for v in verdicts_on(of_format, fmt, plan, options, needs, advance=advance)
    ]
    by_place = {(v.variant, v.format): v for v in verdicts}
    reports = tuple(
        OperationReport(operation.name, tuple(by_place[v.id, f.name] for v in chosen for f in cases))
        for operation, chosen in plan.items()
    )
    return Comparison(
        input=summary,
        formats=tuple(f.name for f in options.formats),
        accumulation=options.accumulations(),
        max_ulp=options.max_ulp,
        reduction=options.reduction.value,
        reports=reports,
        finding=overview_finding(reports) if options.is_overview else finding(reports, hazard=hazard),
        command=command,
        notes=(*notes, *refusals(v for r in reports for v in r.verdicts)),
        backend=options.backend_name,
        device=options.device,
        libraries=options.libraries(),
        formulas={v.id: v.formula for chosen in plan.values() for v in chosen},
        brief_formulas={v.id: v.brief or v.formula for chosen in plan.values() for v in chosen},
        exp_overflow={f.name: f.exp_overflow.real for f in options.formats},
        is_overview=options.is_overview,
    )


def _cases(problem: Problem, rows: Array, options: CompareOptions) -> tuple[list[Case], list[str]]:
    logits = problem.logits
    if rows.size < len(logits) or logits.size <= BLOCK_CELLS:
        # A large input stays in a temporary file that is mapped: its blocks are copied one at a time.
        logits = np.ascontiguousarray(logits[rows])
    wanted = options.asked_operations
    cases: list[Case] = []
    notes: list[str] = []
    for operation in wanted:
        case = Case(operation, rows, logits)
        if operation.needs_targets:
            if problem.labels is None:
                if options.operations:
                    hint = "give a file of labels, or name a column with --label-column"
                    raise StablemaxError(f"{operation} needs labels", hint)
                continue
            kept = kept_rows(problem.labels, options.ignore_index)
            is_kept = kept[rows]
            if not is_kept.any():
                notes.append(f"{operation}: not run, every judged row is ignored (label {options.ignore_index})")
                continue
            divisor = float(kept.sum()) if options.reduction is Reduction.MEAN else 1.0
            # The truth about the same array is computed once.
            x = logits if is_kept.all() else logits[is_kept]
            case = Case(operation, rows[is_kept], x, labels=problem.labels[rows[is_kept]], divisor=divisor)
        elif operation.second is not Second.NONE:
            labels = None if problem.labels is None else problem.labels[rows]
            array = second_array(operation, logits, labels, options.upstream, options.upstream_seed)
            case = replace(case, array=array)
            if operation.of_losses and options.reduction is Reduction.MEAN:
                case = replace(case, divisor=float(operation.loss_count(*problem.logits.shape)))
        cases.append(case)
    unlabelled = (o for o in wanted if o.needs_targets and options.implementations(o))
    if problem.labels is None and not options.operations and any(unlabelled):
        notes.append("no labels: cross_entropy and its gradient are not run")
    return cases, notes
