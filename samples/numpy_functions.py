"""Functions that are none of the operations of stablemax: `trace` and `check` hold them to exact arithmetic."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def binary_cross_entropy(x: Floats, y: Floats) -> Floats:
    """Infinite where the sigmoid becomes 0 or 1."""
    p = 1 / (1 + np.exp(-x))
    losses = y * np.log(p) + (1 - y) * np.log(1 - p)
    return -losses.mean()


def good_binary_cross_entropy(x: Floats, y: Floats) -> Floats:
    """The same from the logits themselves."""
    losses = y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)
    return losses.mean()


def norm(x: Floats) -> Floats:
    """Infinite from 1.8e19 on in float32, and 0 below 2e-23."""
    return np.sqrt((x * x).sum())
