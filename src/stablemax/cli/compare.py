"""``stablemax compare``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from stablemax.cli import io, option_values, options
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import HAZARDS_OWN, LabelledSourceOptions, NetworkOptions, Source, source_of
from stablemax.operations import get_operation
from stablemax.render.comparisons import COMPARISON
from stablemax.render.leagues import LEAGUE
from stablemax.results import Comparison, Grade, League, Outcome, Standout, Verdict
from stablemax.text.errors import StablemaxError
from stablemax.text.ranges import check_timeout
from stablemax.text.vocabulary import IGNORED, Accumulation, BackendName, Reduction, Upstream
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from stablemax.comparing.comparison import CompareOptions
    from stablemax.operations.variant import Variant

_SIGNS: tuple[Outcome | Grade, ...] = (Grade.UNSTABLE, *(o for o in reversed(list(Outcome)) if o is not Outcome.OK))
FAILURES = tuple(sign.value for sign in _SIGNS)


@in_panel(Panel.COMMON)
@dataclass(frozen=True)
class ComparedSourceOptions(LabelledSourceOptions):
    """Where logits come from: for the league from all hazards."""

    hazards: bool = option("The league: all hazards, the worst of each.", "--hazards", default=False)


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class ComparedOptions:
    """What is compared, and how it is judged."""

    operation: list[str] | None = option(
        **options.operation_words("All formulas of an operation; repeatable:"),
        unset="the main formulas of the main ones",
        panel=Panel.COMMON,
    )
    all_formulas: bool = option("All formulas of all operations on rows.", "--all", default=False, panel=Panel.COMMON)
    variant: list[str] | None = options.variants_option("the main ones")
    number_format: list[str] | None = options.number_format_option(
        "Number format; repeatable.", unset="float16, bfloat16, float32, float64"
    )
    accumulate: Accumulation | None = options.accumulate_option()
    ignore_index: options.IgnoreIndexOption = IGNORED
    reduction: Reduction = option(
        "What the gradient is the gradient of: the losses' mean or sum; with none each row is that of its own loss.",
        metavar="REDUCTION",
        default=Reduction.MEAN,
    )
    upstream: options.UpstreamOption = Upstream.NORMAL
    max_ulp: options.MaxUlpOption = None
    judge: options.JudgeOption = None
    fail_on: str | None = option(
        f"Exit 1 on any of: {', '.join(FAILURES)}; several with commas between them.",
        metavar="OUTCOMES",
        panel=Panel.JUDGING,
    )
    show_values: int = option("Print the first N rows of every output.", default=0, metavar="N", panel=Panel.COMMON)
    details: bool = option("All the figures of every variant.", "--details", default=False, panel=Panel.COMMON)


@help_entry(
    CommandPanel.JUDGE,
    Example("Which formulas survive logits up to 100,000?", "stablemax compare --scale 1e5"),
    Example("Logits and labels of your own", "stablemax compare logits.npy labels.npy --format bfloat16"),
)
def compare(
    line: CommandLine,
    source: ComparedSourceOptions,
    libraries: options.LibraryOptions,
    compared: ComparedOptions,
    network: NetworkOptions,
    printing: options.PrintOptions,
    output_format: Annotated[str | None, options.format_option(COMPARISON)] = None,
) -> int:
    """Compare naive and stable formulas in every number format, each cell judged against the truth.

    Without LOGITS they are generated, or are those of a hazard. --peer adds other libraries. The exit code is 0
    also where a naive formula fails; --fail-on makes a check of it.
    """
    texts = [] if compared.fail_on is None else [compared.fail_on]
    names = option_values.failures_named(texts, FAILURES, "no outcome")
    failures = frozenset(sign for sign in _SIGNS if sign.value in names)
    check_timeout(network.timeout)
    logits = _source(line, source, network.timeout)
    kind = LEAGUE if source.hazards else COMPARISON
    output = io.output_of(kind, output_format, printing, *logits.logits, *logits.labels)
    built_ins, notes = _built_ins(libraries)
    request = _options(compared, libraries, built_ins)
    result = _compared(logits, request, printing, is_league=source.hazards)
    more = {} if source.hazards else {"show_values": compared.show_values > 0}
    return output.finish(
        result, (*notes, *result.notes), _failed(result, failures), failures, details=compared.details, **more
    )


def _source(line: CommandLine, source: ComparedSourceOptions, timeout_s: float) -> Source:
    """Return where the logits come from; with --hazards from no option at all."""
    own = (*HAZARDS_OWN, "--judge")
    if not source.hazards:
        return source_of(line, source, own=own, optional=True, timeout_s=timeout_s)
    if source.hazard is not None:
        raise StablemaxError("--hazard is one hazard and --hazards all of them", "leave out one of the two")
    if source.files:
        raise StablemaxError("--hazards is the input, and a file is given", "leave out one of the two")
    others = ("source", "reading", "generated", *own, "--show-values")
    line.refuse(others, "does not go with --hazards", allowed=("--hazards",))
    return Source(line, source, [], [])


def _options(
    compared: ComparedOptions, libraries: options.LibraryOptions, built_ins: tuple[Variant, ...]
) -> CompareOptions:
    from stablemax.comparing.comparison import DEFAULT_FORMATS, CompareOptions

    backend = None
    if libraries.backend is not BackendName.NUMPY:
        from stablemax.libraries.array_api import Backend

        backend = Backend(libraries.backend, libraries.device)
    return CompareOptions(
        formats=option_values.formats_named(compared.number_format) if compared.number_format else DEFAULT_FORMATS,
        operations=tuple(map(get_operation, dict.fromkeys(compared.operation or ()))),
        patterns=tuple(compared.variant or ()),
        accumulation=compared.accumulate,
        max_ulp=compared.max_ulp,
        judge=option_values.row_count(compared.judge),
        reduction=compared.reduction,
        show_values=compared.show_values,
        overview=not compared.all_formulas,
        ignore_index=compared.ignore_index,
        upstream=compared.upstream,
        built_ins=built_ins,
        backend=backend,
    )


def _compared(
    source: Source, request: CompareOptions, printing: options.PrintOptions, *, is_league: bool
) -> Comparison | League:
    from stablemax.comparing.comparison import compare_hazard, compare_problem

    with io.progress(printing, source.reading) as step:
        if is_league:
            from stablemax.comparing.league import league

            return league(request, command=source.line.words(), progress=step)
        if source.hazard is not None:
            return compare_hazard(source.hazard, request, command=source.words(), progress=step)
        problem = source.problem(request.ignore_index, request.operations)
        return compare_problem(problem, request, command=source.words(), progress=step)


def _built_ins(libraries: options.LibraryOptions) -> tuple[tuple[Variant, ...], tuple[str, ...]]:
    """Import the built-ins of the peers, and say what is missing; nothing of another library is touched without."""
    if libraries.device is not None and not libraries.peer and libraries.backend is BackendName.NUMPY:
        raise StablemaxError("--device is for other libraries", "with it: --backend torch, or --peer torch")
    if not libraries.peer:
        return (), ()
    from stablemax.libraries import chosen

    return chosen(libraries.peer, libraries.device)


def _failed(result: Comparison | League, failures: frozenset[Outcome | Grade]) -> list[str]:
    """Word which of the outcomes of --fail-on occurred."""
    results = _outcomes_in(result)
    hits = [(name, outcomes) for name, outcomes in results if failures & outcomes.keys()]
    if not hits:
        return []
    either = " or ".join(sign.value for sign in reversed(_SIGNS) if sign in failures)
    has = "has" if len(hits) == 1 else "have"
    lines = []
    for name, outcomes in hits:
        worst = next(sign for sign in _SIGNS if sign in failures and sign in outcomes)
        lines.append(f"{name}: {worst.value} {outcomes[worst]}")
    finding = f"{len(hits)} of {counted(len(results), 'result')} {has} cells that are {either}"
    return io.failed(finding, lines)


def _outcomes_in(result: Comparison | League) -> list[tuple[str, dict[Outcome | Grade, str]]]:
    """Name what ran, with the outcomes that occurred and its grade, and where."""
    if isinstance(result, League):
        return [(f"{s.implementation} in {s.format}", _of_standout(s)) for s in result.standouts]
    return [(f"{v.variant} in {v.format}", _of_verdict(v)) for v in result.verdicts]


def _of_standout(standout: Standout) -> dict[Outcome | Grade, str]:
    where: dict[Outcome | Grade, str] = {o: f"under {listed(names)}" for o, names in standout.outcomes.items()}
    return {Grade.UNSTABLE: f"under {listed(standout.failed)}", **where} if standout.failed else where


def _of_verdict(verdict: Verdict) -> dict[Outcome | Grade, str]:
    cause = f": {verdict.cause}" if verdict.cause else ""
    where: dict[Outcome | Grade, str] = {
        o: f"in {100 * share:.3g}% of the cells{cause if o is verdict.worst else ''}"
        for o, share in verdict.shares.items()
    }
    if verdict.grade is not Grade.UNSTABLE or verdict.worst is None:
        return where
    return {Grade.UNSTABLE: f"({verdict.worst} {where[verdict.worst]})", **where}
