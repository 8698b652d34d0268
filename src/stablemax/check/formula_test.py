"""Tells a wrong formula from an unstable one by exact arithmetic: only the first is wrong there too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from stablemax.check.laws import easy_case
from stablemax.check.target.messages import NoAnswerError
from stablemax.numerics.formats import FLOAT64
from stablemax.operations.shared import BOOKKEEPING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.check.trials import Trial, Trials
    from stablemax.numerics.formats import Array
    from stablemax.results import LawVerdict

_LARGEST_EXACT = 1e300
"""Beyond, exact results may be larger than the float64 that they are compared as."""
_MAX_CELLS = 4096


def is_wrong_exactly(trials: Trials, failures: Sequence[Trial], laws: Sequence[LawVerdict]) -> bool:
    """Tell a wrong formula from an unstable one.

    NumPy code runs on exact numbers, where it can be followed; otherwise, and for other libraries, an
    easy input in float64 decides, on which no right formula loses half of its digits.
    """
    easy = trials.trial(easy_case(), FLOAT64)
    if easy.verdict is None:
        has_another_shape = easy.result.output is not None
        return has_another_shape or _any_fails_exactly(trials, failures)
    exact = _exact_output(trials, easy)
    if exact is not None:
        easy_fails = _fails_exactly(trials, exact, easy)
    else:
        breaks_a_law = any(law.detail for law in laws if law.format == "float64" and law.law not in BOOKKEEPING)
        easy_fails = easy.failed or breaks_a_law
    return easy_fails or _any_fails_exactly(trials, failures)


def _any_fails_exactly(trials: Trials, failures: Sequence[Trial]) -> bool:
    judged = (trial for trial in failures if trial.verdict is not None)
    outputs = ((trial, _exact_output(trials, trial)) for trial in judged)
    return any(exact is not None and _fails_exactly(trials, exact, trial) for trial, exact in outputs)


def _exact_output(trials: Trials, trial: Trial) -> Array | None:
    """Run the target on exact numbers; None where that is not possible."""
    logits = trial.case.logits
    if trials.target.info.backend != "numpy" or logits.size > _MAX_CELLS:
        return None
    if np.abs(logits[np.isfinite(logits)]).max(initial=0.0) > _LARGEST_EXACT:
        return None
    with contextlib.suppress(NoAnswerError):
        return trials.target.run_exactly(trials.call_on(trial.case, trial.format))
    return None


def _fails_exactly(trials: Trials, exact: Array, trial: Trial) -> bool:
    right = trial.setting.exact.truth.rounded
    if exact.size != right.size:
        return True
    rounded = trial.format.round(exact.reshape(right.shape))
    # Where exact arithmetic has no value (inf - inf), the NaN of the floats is not the formula's fault alone.
    return bool((trials.severities(rounded, trial.setting)[~np.isnan(rounded)] > 0).any())
