"""The inputs of the notebooks that this program grew from; named without NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array


@dataclass(frozen=True)
class Preset:
    """An input of one of the notebooks."""

    #: For `--preset`.
    name: str
    #: What it shows, in a sentence.
    about: str
    #: The command that shows it, short enough for a line of 80 columns.
    command: str
    #: Gives logits (N, K) and labels (N,).
    make: Callable[[], tuple[Array, Any]]


def _notebook_a() -> tuple[Array, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.uniform(-50, 50, (16, 64)).astype(np.float32), rng.integers(0, 64, 16)


def _linspace(stop: float) -> Callable[[], tuple[Array, Any]]:
    def make() -> tuple[Array, Any]:
        import numpy as np

        return np.linspace(-1, stop, 500).reshape(50, 10), np.arange(50) % 10

    return make


def _notebook_c() -> tuple[Array, Any]:
    import numpy as np

    return np.array([[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0]]), [0, 0]


def _notebook_c_loss() -> tuple[Array, Any]:
    import numpy as np

    return np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]], dtype=np.float32), [0, 2]


def _notebook_d() -> tuple[Array, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((8, 3000)).astype(np.float32), rng.integers(0, 3000, 8)


def _notebook_d_gap() -> tuple[Array, Any]:
    import numpy as np

    gap = 1 - 0.002 * np.arange(1000)
    return np.stack([np.zeros(1000), gap], axis=1), np.zeros(1000)


def _notebook_e(offset: float) -> Callable[[], tuple[Array, Any]]:
    def make() -> tuple[Array, Any]:
        import numpy as np

        return np.random.default_rng(0).random((1, 20), dtype=np.float32) + np.float32(offset), [0]

    return make


PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset(
            "notebook-a",
            "U(-50, 50) in float32, 16 x 64: four losses that agree",
            "compare --preset notebook-a --operation cross_entropy",
            _notebook_a,
        ),
        Preset(
            "notebook-b-gentle",
            "linspace(-1, 1), 50 x 10: all formulas agree",
            "compare --preset notebook-b-gentle --operation softmax",
            _linspace(1),
        ),
        Preset(
            "notebook-b-moderate",
            "linspace(-1, 500), 50 x 10: the naive softmax still holds",
            "compare --preset notebook-b-moderate --format float64",
            _linspace(500),
        ),
        Preset(
            "notebook-b-loss",
            "linspace(-1, 1e5), 50 x 10: losses inf, inf and right",
            "compare --preset notebook-b-loss --operation cross_entropy",
            _linspace(1e5),
        ),
        Preset(
            "notebook-b",
            "linspace(-1, 5e5), 50 x 10: the naive softmax is 0 and NaN",
            "compare --preset notebook-b --operation softmax",
            _linspace(5e5),
        ),
        Preset(
            "notebook-c",
            "[1, 2, 3] and [1000, 1001, 1002]: the same probabilities, if shifted",
            "compare --preset notebook-c --operation softmax",
            _notebook_c,
        ),
        Preset(
            "notebook-c-loss",
            "two rows of three in float32, labels 0 and 2: the mean loss is 1.4185",
            "loss --preset notebook-c-loss",
            _notebook_c_loss,
        ),
        Preset(
            "notebook-d",
            "N(0, 1) in float32, 8 x 3000: a vocabulary",
            "compare --preset notebook-d --operation cross_entropy",
            _notebook_d,
        ),
        Preset(
            "notebook-d-gap",
            "two classes, the gap falling from 1 in steps of 0.002: the loss curve",
            "sweep --preset notebook-d-gap --show-values",
            _notebook_d_gap,
        ),
        Preset(
            "notebook-e",
            "U(0, 1) + 100 in float32, 1 x 20: exp(100) overflows",
            "compare --preset notebook-e --operation softmax",
            _notebook_e(100),
        ),
        Preset(
            "notebook-e-small",
            "U(0, 1) in float32, 1 x 20: a sum over the wrong axis gives ones",
            "compare --preset notebook-e-small --variant softmax/axis-0",
            _notebook_e(0),
        ),
    )
}
"""Every preset by its name."""
