"""Lists of variants, formats, presets and hazards in each output format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stablemax.formats import FLOAT32, FORMATS
from stablemax.inputs.generated import PRESETS
from stablemax.inputs.hazards import HAZARDS
from stablemax.operations import all_operations
from stablemax.operations.variant import variants as _variants
from stablemax.render import data, figures
from stablemax.vocabulary import OutputFormat

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.inputs.hazards import Hazard, HazardCase
    from stablemax.operations.operation import Operation

_SHOWN_CELLS = 64


@dataclass(frozen=True)
class Listing:
    """A list of like things.

    Parameters
    ----------
    kind : str
        What they are.
    headers : tuple of str
        Columns of the tables.
    rows : tuple of tuple of str
        Cells of the tables.
    records : tuple of dict
        The same and more, for JSON.
    """

    kind: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    records: tuple[dict[str, Any], ...]


def variants(operation: Operation | None) -> Listing:
    """List the variants with their formulas."""
    found = _variants(operation)
    return Listing(
        "variants",
        ("variant", "formula"),
        tuple((v.id, v.formula) for v in found),
        tuple(
            {"id": v.id, "operation": v.operation.name, "formula": v.formula, "summary": v.summary, "cure": v.cure}
            for v in found
        ),
    )


def formats() -> Listing:
    """List the formats: precision, range, and the exact logits at which exp overflows and gives 0."""
    found = list(FORMATS.values())
    return Listing(
        "formats",
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
    found = list(PRESETS.values())
    return Listing(
        "presets",
        ("preset", "what it shows"),
        tuple((p.name, p.about) for p in found),
        tuple({"name": p.name, "about": p.about} for p in found),
    )


def hazards(operation: Operation | None) -> Listing:
    """List the hazards, or those of one operation, with why they are here and where they were seen."""
    found = [h for h in HAZARDS.values() if operation is None or operation in h.operations]
    return Listing(
        "hazards",
        ("hazard", "reason", "seen in", "operations"),
        tuple((h.name, h.reason, h.source, _operations(h)) for h in found),
        tuple(
            {
                "name": h.name,
                "reason": h.reason,
                "sources": [s for s in h.source.split(", ") if s],
                "operations": [o.name for o in h.operations],
                "needs": h.needs,
                "promised": h.promised,
                "float32": _input(h.case(FLOAT32)),
            }
            for h in found
        ),
    )


def _operations(hazard: Hazard) -> str:
    return "all" if len(hazard.operations) == len(all_operations()) else ", ".join(map(str, hazard.operations))


def _input(case: HazardCase) -> dict[str, Any]:
    """Return a hazard's input as float32 holds it; of a large one the shape alone."""
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


def render(listing: Listing, how: OutputFormat, *, color: str, to_file: bool) -> str:
    """Write a listing."""
    headers, rows = list(listing.headers), [list(r) for r in listing.rows]
    if how is OutputFormat.TABLE:
        from stablemax.render import console, tables

        on = console.surface(color, to_file=to_file)
        return console.printed(tables.grid(headers, rows, on), on)
    if how is OutputFormat.JSON:
        return data.document(listing.kind, {listing.kind: listing.records})
    if how is OutputFormat.NDJSON:
        return data.lines(list(listing.records))
    write = {
        OutputFormat.CSV: data.table_csv,
        OutputFormat.PLAIN: data.table_plain,
        OutputFormat.MARKDOWN: data.table_markdown,
    }[how]
    return write(headers, rows)
