"""The words of the command line, as enumerations: importable without NumPy."""

from __future__ import annotations

import enum

IGNORED = -100
"""The label of rows that do not count, as in PyTorch."""

NO_OPERATION = "none"
"""The operation of a function that is held to none: its truth is exact arithmetic on its own code."""


class Accumulation(enum.StrEnum):
    """How a sum is added up.

    ``sequential`` rounds to the format after every addition, left to right; ``pairwise`` adds in
    the format, in a tree; ``float32`` and ``float64`` add pairwise in that format and round once.
    """

    SEQUENTIAL = "sequential"
    PAIRWISE = "pairwise"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class EngineName(enum.StrEnum):
    """Who computes the blocks of a large input."""

    THREADS = "threads"
    DASK = "dask"


class Reduction(enum.StrEnum):
    """What becomes of the losses of the rows."""

    MEAN = "mean"
    SUM = "sum"
    NONE = "none"


class Distribution(enum.StrEnum):
    """Shape of generated logits: uniform and ramp on [-scale, scale], normal with that deviation."""

    UNIFORM = "uniform"
    NORMAL = "normal"
    RAMP = "ramp"


class Upstream(enum.StrEnum):
    """Upstream gradient of the vector-Jacobian product: N(0, 1), or that of the mean, 1/K everywhere."""

    NORMAL = "normal"
    MEAN = "mean"


class BackendName(enum.StrEnum):
    """On whose arrays our variants run."""

    NUMPY = "numpy"
    TORCH = "torch"
    JAX = "jax"


class ColorMode(enum.StrEnum):
    """When to colour: ``auto`` for a terminal, as NO_COLOR, FORCE_COLOR and CLICOLOR have it."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"
