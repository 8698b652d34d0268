"""The lines beneath the cells of a step's table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.lessons.number_text import number_text

if TYPE_CHECKING:
    from stablemax.lessons.live import Judged
    from stablemax.truth.case import Setting


@dataclass(frozen=True)
class Summary:
    """A line beneath the cells: of what a formula gave, and of what is right."""

    name: str
    of_run: Callable[[Judged], str]
    of_truth: Callable[[Setting], str]
    #: It is given in ulps
    in_ulp: bool = False


def error_words(error_ulp: float | None) -> str:
    """Write an error; a dash where no finite number could be compared.

    >>> error_words(0.4987), error_words(1.6e15), error_words(None)
    ('0.5 ulp', '1.6e+15 ulp', '-')
    """
    if error_ulp is None:
        return "-"
    return f"{error_ulp:.0f} ulp" if 9.95 <= error_ulp < 99999.5 else f"{error_ulp:.2g} ulp"


def _largest_error(run: Judged) -> str:
    return error_words(run.error_ulp)


def _nothing(_: Setting) -> str:
    return ""


def _total(run: Judged) -> str:
    xp = run.setting.xp
    with np.errstate(all="ignore"):
        return number_text(float(xp.sum(xp.array(run.output[:1]))[0, 0]), xp.format)


def _right_total(setting: Setting) -> str:
    fmt = setting.xp.format
    return number_text(float(fmt.round(math.fsum(setting.exact.truth.nearest[0].tolist()))), fmt)


def _mean(run: Judged) -> str:
    xp = run.setting.xp
    with np.errstate(all="ignore"):
        return number_text(float(xp.mean(xp.array(run.output.reshape(-1)))), xp.format)


def _right_mean(setting: Setting) -> str:
    return "" if setting.mean is None else number_text(float(setting.mean.rounded.item()), setting.xp.format)


ERROR = Summary("largest error", _largest_error, _nothing, in_ulp=True)
TOTAL = Summary("sum of row 0", _total, _right_total)
MEAN = Summary("mean", _mean, _right_mean)
