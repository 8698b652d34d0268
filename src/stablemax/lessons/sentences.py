"""Sentences of lessons: what their fields stand for.

`{naive[0]}` is the first cell of the column `naive` that is shown, `{exact[0]}` what is right there, `{logit[0]}`
its logit; a value on the way has the name of its column. `{naive.nan}` counts cells, see `ColumnFacts`; `{format.u}`
and the like are of the number format, see `FormatFacts`. `{rows}` and `{classes}` are the size of the input.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.lessons.live import Computed, Judged
from stablemax.lessons.number_text import number_text
from stablemax.lessons.summaries import MEAN, TOTAL, error_words
from stablemax.numerics.formats import Array, Format
from stablemax.results import Outcome
from stablemax.truth.measure import CODES


@dataclass(frozen=True)
class Numbers:
    """Numbers by their place in the table, as text."""

    texts: Sequence[str]

    def __getitem__(self, place: int) -> str:
        return self.texts[place]


@dataclass(frozen=True)
class ColumnFacts(Numbers):
    """What a run gave."""

    run: Judged

    def _count(self, where: Any) -> str:
        return f"{int(np.count_nonzero(where)):,}"

    @property
    def cells(self) -> str:
        """How many numbers there are."""
        return f"{self.run.output.size:,}"

    @property
    def nan(self) -> str:
        """How many are NaN."""
        return self._count(np.isnan(self.run.output))

    @property
    def zeros(self) -> str:
        """How many are 0."""
        return self._count(self.run.output == 0)

    @property
    def lost(self) -> str:
        """How many are 0 where they should not be."""
        return self._count(self.run.judgement.codes == CODES.index(Outcome.LOST))

    @property
    def right(self) -> str:
        """How many are right."""
        return self._count(self.run.judgement.codes == 0)

    @property
    def error(self) -> str:
        """The largest error, in ulps."""
        return error_words(self.run.error_ulp)

    @property
    def digits(self) -> str:
        """How many decimal digits are right in every number."""
        exact = self.run.setting.exact.truth.nearest
        with np.errstate(all="ignore"):
            relative = np.abs((self.run.output - exact) / exact)
        worst = float(relative.max())
        if not worst < 1:
            return "no"
        most = _decimal_digits(self.run.setting.xp.format)
        return str(most if worst == 0 else min(most, math.floor(-math.log10(worst))))

    @property
    def mean(self) -> str:
        """The mean of the losses, in the format."""
        return MEAN.of_run(self.run)

    @property
    def total(self) -> str:
        """The sum of the first row, in the format."""
        return TOTAL.of_run(self.run)

    @property
    def largest(self) -> str:
        """The largest number by its size, to two digits."""
        return f"{float(np.abs(self.run.output).max()):.2g}"


def _decimal_digits(fmt: Format) -> int:
    return math.floor(fmt.precision * math.log10(2))


@dataclass(frozen=True)
class FormatFacts:
    """What sentences say of a number format."""

    fmt: Format

    def __str__(self) -> str:
        return self.fmt.name

    def _text(self, value: float) -> str:
        return number_text(value, self.fmt)

    @property
    def bits(self) -> str:
        """Width."""
        return str(self.fmt.bits)

    @property
    def p(self) -> str:
        """Significant bits."""
        return str(self.fmt.precision)

    @property
    def digits(self) -> str:
        """Decimal digits that those bits are worth."""
        return str(_decimal_digits(self.fmt))

    @property
    def u(self) -> str:
        """The unit roundoff."""
        return f"{self.fmt.u:.2g}"

    @property
    def max(self) -> str:
        """The largest number."""
        return self._text(self.fmt.max)

    @property
    def smallest(self) -> str:
        """The smallest positive number."""
        return self._text(self.fmt.smallest_subnormal)

    @property
    def highest_exponent(self) -> str:
        """The largest logit whose exponential is finite."""
        return self._text(self.fmt.exp_overflow.last_good)

    @property
    def first_overflow(self) -> str:
        """The next number of the format, whose exponential is infinite."""
        return self._text(self.fmt.exp_overflow.first_bad)

    @property
    def lowest_exponent(self) -> str:
        """The lowest logit whose exponential is not 0."""
        return self._text(self.fmt.exp_underflow.last_good)

    @property
    def first_underflow(self) -> str:
        """The next number of the format below, whose exponential is 0."""
        return self._text(self.fmt.exp_underflow.first_bad)

    @property
    def stuck_count(self) -> str:
        """How many ones a sum adds before it stops growing: where the spacing of the format becomes 2."""
        return f"{2**self.fmt.precision:,}"


def fields_of(computed: Computed) -> dict[str, Any]:
    """Return what the fields of a step's sentences stand for."""
    setting, places = computed.setting, computed.places
    fmt = setting.xp.format
    texts = {column.name: [number_text(cell.value, fmt) for cell in column.cells] for column in computed.table.columns}
    exact = setting.exact.truth.rounded
    judged_exact = Judged("exact", exact, setting.judge(exact), setting)
    return {
        "logit": Numbers(_logits(setting.x, places, fmt)),
        **{name: Numbers(texts[name]) for name in computed.on_the_way},
        **{run.name: ColumnFacts(texts[run.name], run) for run in computed.runs},
        "exact": ColumnFacts(texts["exact"], judged_exact),
        "format": FormatFacts(fmt),
        "rows": f"{len(setting.x):,}",
        "classes": f"{setting.x.shape[-1]:,}",
        "lowest": number_text(float(setting.x.min()), fmt),
        "highest": number_text(float(setting.x.max()), fmt),
        "gap": number_text(float(setting.x[0].max()) - float(setting.x[0].min()), fmt),
    }


def _logits(x: Array, places: Sequence[tuple[int, int]], fmt: Format) -> list[str]:
    """Write the logit of each shown cell; where there is one number a row, the logits of the first row."""
    rows, classes = x.shape
    first = [(i, j) for i in range(min(rows, 4)) for j in range(min(classes, 10))]
    cells = places if any(j for _, j in places) else first
    return [number_text(float(x[i, j]), fmt) for i, j in cells]


def fields_in(template: str) -> list[str]:
    """Name the fields of a sentence, without what follows a dot or a bracket.

    >>> fields_in("{naive[0]} and {format.u}")
    ['naive', 'format']
    """
    names = (field for _, field, _, _ in string.Formatter().parse(template) if field is not None)
    return [name.partition(".")[0].partition("[")[0] for name in names]


def filled(template: str, fields: Mapping[str, Any]) -> str:
    """Fill the fields of a sentence."""
    return template.format_map(fields)
