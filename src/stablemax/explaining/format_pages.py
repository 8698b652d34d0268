"""Pages of number formats."""

from __future__ import annotations

import math

from stablemax.explaining.word_kind import WordKind
from stablemax.glossary.live_figures import Expression, number, written
from stablemax.numerics.arithmetic import default_accumulation
from stablemax.numerics.format_names import ALIASES
from stablemax.numerics.formats import FORMATS, Format, get_format
from stablemax.results.explained import ExplainedFormat, Figure, FigureRow
from stablemax.text.errors import StablemaxError
from stablemax.truth.measure import default_max_ulp

_EXP = Expression("exp({})", lambda xp, x: xp.exp(x))
_GAPS_AT = (1.0, 16.0, 256.0, 4096.0, 2.0**20)


def format_page(name: str) -> ExplainedFormat:
    """Explain a number format from its record.

    >>> format_page("bfloat16").precision, format_page("bfloat16").figures[0].title
    (8, 'The gap to the next number')
    """
    fmt = get_format(name)
    return ExplainedFormat(
        name=fmt.name,
        aliases=tuple(alias for alias, meant in ALIASES.items() if meant == fmt.name),
        bits=fmt.bits,
        precision=fmt.precision,
        u=fmt.u,
        emin=fmt.emin,
        emax=fmt.emax,
        max=fmt.max,
        smallest_normal=fmt.smallest_normal,
        smallest_subnormal=fmt.smallest_subnormal,
        overflow=fmt.overflow,
        accumulation=default_accumulation(fmt).value,
        is_emulated=fmt.is_emulated,
        limit_ulp=default_max_ulp(fmt),
        figures=(_gaps(fmt), _exponentials(fmt)),
        see=(
            "stablemax list formats",
            f"stablemax compare --scale 100 --format {fmt.name}",
            f"stablemax compare --hazard many-equal-classes --format {fmt.name}",
            "stablemax explain precision",
        ),
    )


def _gaps(fmt: Format) -> Figure:
    """Say how far the next number is from some numbers of the format."""
    rows = [FigureRow(f"from {written(x)}", (number(fmt.ulp(x).item()),)) for x in _GAPS_AT if x < fmt.max]
    largest = FigureRow("below the largest", (number(fmt.ulp(fmt.max).item()),))
    return Figure("The gap to the next number", ("gap",), (*rows, largest))


def _exponentials(fmt: Format) -> Figure:
    """Compute exp on both sides of the two borders, as far as the format has logits there."""
    sides = {
        "finite": fmt.exp_overflow.last_good,
        "overflows": fmt.exp_overflow.first_bad,
        "not 0": fmt.exp_underflow.last_good,
        "underflows": fmt.exp_underflow.first_bad,
    }
    at = {words: _EXP.at(logit) for words, logit in sides.items() if math.isfinite(logit)}
    exact = [float(one.exactly(fmt).nearest[0]) for one in at.values()]
    columns = {
        "logit": [number(one.numbers[0], fmt) for one in at.values()],
        "exp gives": [one.cell(fmt) for one in at.values()],
        # What lies beyond float64 cannot be shown.
        **({"exact": map(number, exact)} if all(map(math.isfinite, exact)) and all(exact) else {}),
    }
    rows = map(FigureRow, at, zip(*columns.values(), strict=True))
    return Figure("Neighbouring logits where exp breaks", tuple(columns), tuple(rows))


def _by_shape(word: str) -> str:
    try:
        return get_format(word).name
    except StablemaxError:
        return ""


NUMBER_FORMAT = WordKind(
    "number format",
    "number formats",
    "how numbers are stored",
    ExplainedFormat,
    format_page,
    names=lambda: tuple(FORMATS),
    aliases=lambda: ALIASES,
    rule=_by_shape,
)
