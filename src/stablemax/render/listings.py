"""Lists of variants, formats, presets, hazards, terms and patterns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stablemax.operations import all_operations
from stablemax.operations.operation import Operation
from stablemax.render import figures
from stablemax.render.document import Document, Table, aside
from stablemax.render.forms import ResultKind, Rows

if TYPE_CHECKING:
    from stablemax.hazards.catalogue import Hazard, HazardCase
    from stablemax.numerics.formats import Array, Threshold
    from stablemax.trace.cures.pattern import Pattern
    from stablemax.trace.gradients.singular_points import SingularPoint

_SHOWN_CELLS = 64
_COMMAND = "command"
_FORMAT_LEGEND = (
    "p: the binary digits of a number",
    "u: the largest relative error of a rounding",
    "max: the largest number",
    "smallest normal: the smallest number with all p digits",
    "smallest: the smallest above 0",
    "exp overflows: above this logit its exponential is beyond the format",
    "first at: the first number of the format where it is infinite, or NaN",
    "exp gives 0: below this logit its exponential rounds to 0",
    "first 0 at: the first number of the format where it does",
)
_HAZARD_LEGEND = (
    "reason: what fails on it",
    "seen in: where it was reported, or the notebook that has it",
    "operations: what it is tried on",
)
_PATTERN_LEGEND = (
    "formula: a formula that loses the result, and other code that is told where it holds",
    "logarithm: the part that its operation has in the logarithm of a density or a likelihood, written term by term",
    "format: the function in a wider number format, where no formula cures",
    "gradient: an operator at a point where its derivative is infinite or has no value, told by trace --backward",
)


@dataclass(frozen=True)
class Listing:
    """A list of like things."""

    #: What tables show of each, by header
    cells: list[dict[str, str]]
    #: The same and more, for JSON
    records: list[dict[str, Any]]
    #: What the headers mean
    legend: tuple[str, ...] = ()


def variants(operation: Operation | None) -> Listing:
    """List the variants with their formulas."""
    from stablemax.operations.variant import variants as all_variants

    chosen = all_variants(operation)
    names = ("formula", "summary", "cure")
    return Listing(
        [{"variant": v.id, "formula": v.formula} for v in chosen],
        [{"id": v.id, "operation": str(v.operation), **{name: getattr(v, name) for name in names}} for v in chosen],
    )


def formats() -> Listing:
    """List the formats: precision, range, and the exact logits at which exp overflows and gives 0."""
    from stablemax.numerics.formats import FORMATS

    cells = [
        {
            "format": f.name,
            "p": str(f.precision),
            "u": f"2^-{f.precision}",
            "max": figures.exact(f.max).removesuffix(".0"),
            "smallest normal": figures.exact(f.smallest_normal).removesuffix(".0"),
            "smallest": figures.exact(f.smallest_subnormal).removesuffix(".0"),
            "exp overflows": f"above {f.exp_overflow.real:.5g}",
            "first at": repr(f.exp_overflow.first_bad),
            "exp gives 0": f"below {f.exp_underflow.real:.5g}",
            "first 0 at": repr(f.exp_underflow.first_bad),
        }
        for f in FORMATS.values()
    ]
    names = ("name", "precision", "u", "max", "smallest_normal", "smallest_subnormal")
    records = [
        {
            **{name: getattr(f, name) for name in names},
            "exp_overflow": _threshold(f.exp_overflow, "log_max", "last_finite_logit", "first_overflowing_logit"),
            "exp_underflow": _threshold(f.exp_underflow, "log_half_smallest", "last_nonzero_logit", "first_zero_logit"),
        }
        for f in FORMATS.values()
    ]
    return Listing(cells, records, _FORMAT_LEGEND)


def _threshold(threshold: Threshold, real: str, last_good: str, first_bad: str) -> dict[str, float]:
    return {real: threshold.real, last_good: threshold.last_good, first_bad: threshold.first_bad}


def presets() -> Listing:
    """List the notebooks' inputs."""
    from stablemax.hazards.presets import PRESETS

    return Listing(
        [{"preset": p.name, "what it shows": p.about, _COMMAND: f"stablemax {p.command}"} for p in PRESETS.values()],
        [{"name": p.name, "about": p.about, "command": f"stablemax {p.command}"} for p in PRESETS.values()],
    )


def hazards(operation: Operation | None) -> Listing:
    """List the hazards, or those of one operation, with why they are here and where they were seen."""
    from stablemax.hazards.catalogue import HAZARDS
    from stablemax.numerics.formats import FLOAT32

    chosen = [h for h in HAZARDS.values() if operation is None or operation in h.operations]
    return Listing(
        [{"hazard": h.name, "reason": h.reason, "seen in": h.source, "operations": _operations(h)} for h in chosen],
        [
            {
                "name": h.name,
                "reason": h.reason,
                "sources": [s for s in h.source.split(", ") if s],
                "operations": [o.name for o in h.operations],
                "needs": h.needs,
                "promised": h.promised,
                "float32": _input(h.case(FLOAT32)),
            }
            for h in chosen
        ],
        _HAZARD_LEGEND,
    )


def terms() -> Listing:
    """List the glossary's terms."""
    from stablemax.glossary.terms import TERMS

    return Listing(
        [{"term": t.name, "what it is": t.definition, "also called": ", ".join(t.aliases)} for t in TERMS.values()],
        [{"name": t.name, "definition": t.definition, "aliases": t.aliases} for t in TERMS.values()],
    )


def patterns() -> Listing:
    """List the formulas that a trace knows a cure for, and the points at which a gradient is infinite or NaN."""
    records = [*_formulas(), *_gradient_points()]
    return Listing(
        [{"pattern": r["id"], "kind": r["kind"], "formula": r["formula"]} for r in records], records, _PATTERN_LEGEND
    )


def _formulas() -> list[dict[str, Any]]:
    from stablemax.trace.cures.deriving import FACTORS, LOG_OF_ONE, LOG_OF_TERMS
    from stablemax.trace.cures.log_forms import LOG_FORMS
    from stablemax.trace.cures.matching import formula_of
    from stablemax.trace.cures.pattern import Pattern
    from stablemax.trace.cures.patterns import PATTERNS
    from stablemax.trace.cures.wider_format import WIDER_FORMAT

    made = [(LOG_OF_TERMS, "log(a * exp(x) / b + c ** y)"), (FACTORS, "exp(x) * a ** y / gamma(b)")]
    records = [_pattern(p, "formula", p.formula) for p in PATTERNS]
    known = {p.id for p in PATTERNS}
    for form in LOG_FORMS:
        names = {"name": form.tree.name.replace("_", "-"), "formula": formula_of(form.tree)}
        one = Pattern(
            LOG_OF_ONE.id.format(**names), (), LOG_OF_ONE.why.format(**names), form.numpy, form.torch, form.jax
        )
        if one.id not in known:
            records.append(_pattern(one, "logarithm", form.formula))
    records += [_pattern(p, "logarithm", formula) for p, formula in made]
    why = WIDER_FORMAT.why.format(narrow="a format", wide="a wider one")
    return [*records, _pattern(replace(WIDER_FORMAT, why=why), "format", "any")]


def _pattern(pattern: Pattern, kind: str, formula: str) -> dict[str, Any]:
    code = {"numpy": pattern.numpy, "torch": pattern.torch, "jax": pattern.jax}
    return {"id": pattern.id, "kind": kind, "formula": formula, "why": pattern.why, **code}


def _gradient_points() -> list[dict[str, Any]]:
    from stablemax.trace.gradients.singular_points import POINTS, ZEROS_HANDED_BACK

    by_id: dict[str, list[SingularPoint]] = {}
    for point in POINTS:
        by_id.setdefault(point.id, []).append(point)
    records: list[dict[str, Any]] = []
    for name, points in by_id.items():
        operators = dict.fromkeys(n.strip("_") for p in points for n in p.nodes if n.islower())
        code = tuple(dict.fromkeys(cure for p in points for cure in p.cures))
        records.append(
            {"id": name, "kind": "gradient", "formula": f"backward of {', '.join(operators)}", "why": points[0].says,
             "numpy": (), "torch": code, "jax": code}
        )  # fmt: skip
    for name, says in ZEROS_HANDED_BACK.items():
        records.append(
            {"id": name, "kind": "gradient", "formula": "backward of these, given 0", "why": says,
             "numpy": (), "torch": (), "jax": ()}
        )  # fmt: skip
    return records


def _operations(hazard: Hazard) -> str:
    return "all" if len(hazard.operations) == len(all_operations()) else ", ".join(map(str, hazard.operations))


def _input(case: HazardCase) -> dict[str, Any]:
    """Return a hazard's input as float32 holds it; of a large one the shape alone."""
    from stablemax.numerics.formats import FLOAT32

    arrays: dict[str, Array | None] = {
        "logits": FLOAT32.round(case.logits),
        "labels": case.labels,
        "upstream": FLOAT32.round(case.upstream),
        "weight": case.weight,
        "cell_targets": case.cell_targets,
        "other_logits": case.other_logits,
    }
    return {
        "shape": case.logits.shape,
        **(dict.fromkeys(arrays) if case.logits.size > _SHOWN_CELLS else arrays),
        "label_smoothing": case.label_smoothing,
        "reduced": case.reduced,
    }


def document(result: Listing) -> Document:
    """Give the list as a table."""
    table = Table(_headers(result), [list(row.values()) for row in result.cells], whole=(_COMMAND,))
    return [[table], *([[aside(*result.legend)]] if result.legend else [])]


def _headers(result: Listing) -> tuple[str, ...]:
    return tuple(next(iter(result.cells), {}))


def listing_kind(kind: str) -> ResultKind:
    """Return the forms of a list of things of a kind."""
    return ResultKind(
        "a list",
        kind,
        content=lambda result: {kind: result.records},
        document=document,
        records=lambda result: result.records,
        rows=lambda result: Rows(_headers(result), result.cells),
    )
