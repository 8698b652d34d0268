"""Lists of variants, formats, presets and hazards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stablemax.render import figures
from stablemax.render.document import Document, Table
from stablemax.render.forms import ResultKind, Rows
from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.inputs.hazards import Hazard, HazardCase

_SHOWN_CELLS = 64


@dataclass(frozen=True)
class Listing:
    """A list of like things."""

    #: Columns of the tables
    headers: tuple[str, ...]
    #: Cells of the tables
    rows: tuple[tuple[str, ...], ...]
    #: The same and more, for JSON
    records: tuple[dict[str, Any], ...]


def variants(operation: Operation | None) -> Listing:
    """List the variants with their formulas."""
    from stablemax.registry import variants as all_variants

    found = all_variants(operation)
    return Listing(
        ("variant", "formula"),
        tuple((v.id, v.formula) for v in found),
        tuple(
            {"id": v.id, "operation": v.operation, "formula": v.formula, "summary": v.summary, "cure": v.cure}
            for v in found
        ),
    )


def formats() -> Listing:
    """List the formats: precision, range, and the exact logits at which exp overflows and gives 0."""
    from stablemax.formats import FORMATS

    found = list(FORMATS.values())
    return Listing(
        (
            "format",
            "p",
            "u",
            "max",
            "smallest normal",
            "smallest",
            "exp overflows",
            "first at",
            "exp gives 0",
            "first 0 at",
        ),
        tuple(
            (
                f.name,
                str(f.precision),
                f"2^-{f.precision}",
                figures.exact(f.max).removesuffix(".0"),
                figures.exact(f.smallest_normal).removesuffix(".0"),
                figures.exact(f.smallest_subnormal).removesuffix(".0"),
                f"above {f.exp_overflow.real:.5g}",
                repr(f.exp_overflow.first_bad),
                f"below {f.exp_underflow.real:.5g}",
                repr(f.exp_underflow.first_bad),
            )
            for f in found
        ),
        tuple(
            {
                "name": f.name,
                "precision": f.precision,
                "u": f.u,
                "max": f.max,
                "smallest_normal": f.smallest_normal,
                "smallest_subnormal": f.smallest_subnormal,
                "exp_overflow": {
                    "log_max": f.exp_overflow.real,
                    "last_finite_logit": f.exp_overflow.last_good,
                    "first_overflowing_logit": f.exp_overflow.first_bad,
                },
                "exp_underflow": {
                    "log_half_smallest": f.exp_underflow.real,
                    "last_nonzero_logit": f.exp_underflow.last_good,
                    "first_zero_logit": f.exp_underflow.first_bad,
                },
            }
            for f in found
        ),
    )


def presets() -> Listing:
    """List the notebooks' inputs."""
    from stablemax.inputs.generated import PRESETS

    found = list(PRESETS.values())
    return Listing(
        ("preset", "what it shows"),
        tuple((p.name, p.about) for p in found),
        tuple({"name": p.name, "about": p.about} for p in found),
    )


def hazards(operation: Operation | None) -> Listing:
    """List the hazards, or those of one operation, with why they are here and where they were seen."""
    from stablemax.formats import FLOAT32
    from stablemax.inputs.hazards import HAZARDS

    found = [h for h in HAZARDS.values() if operation is None or operation in h.operations]
    return Listing(
        ("hazard", "reason", "seen in", "operations"),
        tuple((h.name, h.reason, h.source, _operations(h)) for h in found),
        tuple(
            {
                "name": h.name,
                "reason": h.reason,
                "sources": [s for s in h.source.split(", ") if s],
                "operations": h.operations,
                "needs": h.needs,
                "promised": h.promised,
                "float32": _input(h.case(FLOAT32)),
            }
            for h in found
        ),
    )


def _operations(hazard: Hazard) -> str:
    return "all" if len(hazard.operations) == len(Operation) else ", ".join(hazard.operations)


def _input(case: HazardCase) -> dict[str, Any]:
    """Return a hazard's input as float32 holds it; of a large one the shape alone."""
    from stablemax.formats import FLOAT32

    arrays: dict[str, Array | None] = {
        "logits": FLOAT32.round(case.logits),
        "labels": case.labels,
        "upstream": FLOAT32.round(case.upstream),
        "weight": case.weight,
    }
    large = case.logits.size > _SHOWN_CELLS
    return {
        "shape": case.logits.shape,
        **{name: None if large else array for name, array in arrays.items()},
        "label_smoothing": case.label_smoothing,
        "reduced": case.reduced,
    }


def document(result: Listing) -> Document:
    """Give the list as a table."""
    return ((Table(result.headers, result.rows),),)


def listing_kind(kind: str) -> ResultKind:
    """Return the forms of a list of things of a kind."""
    return ResultKind(
        "a list",
        kind,
        content=lambda result: {kind: result.records},
        document=document,
        records=lambda result: result.records,
        rows=lambda result: Rows(result.headers, result.rows),
    )
