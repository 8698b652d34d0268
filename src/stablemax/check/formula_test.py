"""Tells a wrong formula from an unstable one by exact arithmetic: only the first is wrong there too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.laws import easy_case
from stablemax.check.target.subprocess_target import NoAnswerError
from stablemax.formats import FLOAT64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stablemax.check.trials import Asker, Trial
    from stablemax.formats import Array
    from stablemax.results import LawVerdict

_LARGEST_EXACT = 1e300
"""Beyond, exact results may be larger than the float64 that they are compared as."""
_MAX_CELLS = 4096

_TELLING_LAWS = ("shift-invariance", "permutation", "rows-independent", "rows-sum-to-1", "gradient-sums-to-0")


def is_wrong_exactly(
    asker: Asker, trials: Sequence[Trial], laws: Sequence[LawVerdict], ask: Callable[..., Any]
) -> bool:
    """Tell a wrong formula from an unstable one.

    NumPy code runs on exact numbers, where it can be followed; otherwise, and for other libraries, an
    easy input in float64 decides, on which no formula that is right loses half of its digits.

    Parameters
    ----------
    asker : Asker
        The implementation and its contract.
    trials : sequence of Trial
        Inputs on which it failed.
    laws : sequence of LawVerdict
        What was found of the laws.
    ask : callable
        Calls a method of the host by name.
    """
    easy = asker.trial(easy_case(), FLOAT64)
    if easy.answer.output is not None and easy.verdict is None:
        return True  # of another shape
    exact = None if easy.verdict is None else _exactly(asker, easy, ask)
    breaks_a_law = any(law.detail for law in laws if law.format == "float64" and law.law in _TELLING_LAWS)
    suspect = easy.failed or breaks_a_law if exact is None else _is_failure(asker, exact, easy)
    if suspect and easy.verdict is not None:
        return True
    for trial in trials:
        exact = None if trial.verdict is None else _exactly(asker, trial, ask)
        if exact is not None and _is_failure(asker, exact, trial):
            return True
    return False


def _exactly(asker: Asker, trial: Trial, ask: Callable[..., Any]) -> Array | None:
    """Run the target on exact numbers; None where that is not possible."""
    if asker.runner.described.backend != "numpy" or trial.case.logits.size > _MAX_CELLS:
        return None
    finite = trial.case.logits[np.isfinite(trial.case.logits)]
    if finite.size and np.abs(finite).max() > _LARGEST_EXACT:
        return None
    try:
        return ask("exactly", asker.question(trial.case, trial.format))
    except NoAnswerError:
        return None


def _is_failure(asker: Asker, exact: Array, trial: Trial) -> bool:
    right = trial.setting.exact.truth.rounded
    if exact.size != right.size:
        return True
    rounded = trial.format.round(exact.reshape(right.shape))
    # Where exact arithmetic finds no value (inf - inf), the floats' NaN is not the formula's fault alone.
    return bool((asker.severities(rounded, trial.setting)[~np.isnan(rounded)] > 0).any())
