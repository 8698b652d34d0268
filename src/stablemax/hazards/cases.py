"""Inputs of the hazard catalogue: the arrays of a case, and how those that depend on the format are made."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import cell_targets
from stablemax.text.vocabulary import IGNORED


class Layout(enum.StrEnum):
    """How an array lies in memory."""

    C = "C order"
    FORTRAN = "Fortran order"
    STRIDED = "every second class of a wider array"
    REVERSED = "a reversed view"
    READ_ONLY = "a read-only array"
    OFFSET = "a view that begins inside of a buffer"


@dataclass(frozen=True)
class Axes:
    """How rows of classes (N, K) lie in an array of more dimensions, or one row in an array of one."""

    others: tuple[int, ...]  #: lengths of the axes beside that of the classes, N in all; none for one row
    class_axis: int = -1

    def shape(self, classes: int) -> tuple[int, ...]:
        """Return the shape of the array."""
        at = self.class_axis % (len(self.others) + 1)
        return (*self.others[:at], classes, *self.others[at:])

    def laid_out(self, rows: Array) -> Array:
        """Lay an array (N, K), or one number a row, out along the axes."""
        array = rows.reshape((*self.others, *rows.shape[1:]))
        return array if rows.ndim == 1 else np.ascontiguousarray(np.moveaxis(array, -1, self.class_axis))

    def rows_of(self, output: Array, classes: int) -> Array | None:
        """Take an output back to (N, K), (N,) or one number; None where it has another shape."""
        if output.shape == self.shape(classes):
            return np.moveaxis(output, self.class_axis, -1).reshape(-1, classes)
        if output.ndim == 0 or (not self.others and output.shape == (1, classes)):
            return output
        is_a_number_each = output.shape in (self.others, self.shape(1), (math.prod(self.others),))
        return output.reshape(-1) if is_a_number_each else None


@dataclass(frozen=True)
class HazardCase:
    """A hazard's input in one format, before it is rounded to it."""

    logits: Array  #: float64 (N, K); may be a broadcast view: many equal rows
    labels: Array  #: int64 (N,), -100 for an ignored row; or soft targets, float64 (N, K)
    upstream: Array  #: upstream gradient, float64 (N, K)
    weight: Array | None = None  #: of each class, float64 (K,)
    label_smoothing: float = 0.0  #: from 0 to 1
    reduced: bool = False  #: True where the mean of the losses is what goes wrong: losses are judged by their mean
    cell_targets: Array | None = None  #: in [0, 1], float64 (N, K); without them those of the labels
    other_logits: Array | None = None  #: a second array of logits (N, K); without it the logits in reverse order
    layout: Layout = Layout.C  #: of the logits
    axes: Axes | None = None  #: of the arrays as an implementation gets them; None for (N, K)

    @property
    def option_kinds(self) -> tuple[bool, ...]:
        """Whether rows are ignored, classes weighted, labels smoothed, targets soft."""
        is_ignored = self.labels.ndim == 1 and bool((self.labels == IGNORED).any())
        return is_ignored, self.weight is not None, self.label_smoothing > 0, self.labels.ndim == 2

    def second(self, operation: Operation) -> Array | None:
        """Return the array that an operation takes beside the logits; None for none."""
        arrays: dict[Second, Callable[[], Array | None]] = {
            Second.NONE: lambda: None,
            Second.LABELS: lambda: self.labels,
            Second.CELL_TARGETS: self._targets_of_cells,
            Second.UPSTREAM: lambda: self.upstream,
            Second.LOGITS: lambda: self.logits[:, ::-1] if self.other_logits is None else self.other_logits,
        }
        return arrays[operation.second]()

    def _targets_of_cells(self) -> Array:
        if self.cell_targets is not None:
            return self.cell_targets
        return np.clip(cell_targets(self.labels, self.logits.shape[-1]), 0.0, 1.0)


def rows(
    logits: Sequence[Sequence[float]] | Array,
    labels: Sequence[int] | Sequence[Sequence[float]] | Array,
    *,
    upstream: Sequence[float] | None = None,
    weight: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    reduced: bool = False,
    cell_targets: Sequence[Sequence[float]] | None = None,
    other_logits: Sequence[Sequence[float]] | None = None,
) -> HazardCase:
    """Make a case; its upstream gradient is 1, 2, 4, 8, 1, ... along each row where none is given."""
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    g = np.resize([1.0, 2.0, 4.0, 8.0] if upstream is None else np.asarray(upstream), x.shape[-1])
    return HazardCase(
        x,
        y.astype(np.int64 if y.ndim == 1 else np.float64),
        np.broadcast_to(g, x.shape),
        None if weight is None else np.asarray(weight, dtype=np.float64),
        label_smoothing,
        reduced,
        None if cell_targets is None else np.asarray(cell_targets, dtype=np.float64),
        None if other_logits is None else np.asarray(other_logits, dtype=np.float64),
    )


def unit(fmt: Format) -> float:
    """Return the smallest number at which the format's spacing is 1."""
    return 2.0 ** (fmt.precision - 1)


def normals_at_offset(_: Format) -> HazardCase:
    """Draw 1000 normals and add 1e4."""
    return rows(np.random.default_rng(0).standard_normal((1, 1000)) + 1e4, [0])


def uniform_at_unit_spacing(fmt: Format) -> HazardCase:
    """Take rand(4, 3) down to where the spacing of the format is 1."""
    # In float32 this is the offset of the report, -1e7.
    return rows(np.random.default_rng(0).random((4, 3)) - 1e7 / 2.0**23 * unit(fmt), [0, 1, 2, 0])


def absorbed_tail(fmt: Format) -> HazardCase:
    """Put one large exponential before 1023 that each are half of what a 1 can still feel."""
    return rows([[0.0] + [math.log(fmt.u / 2)] * 1023], [0])


def one_finite(_: Format) -> HazardCase:
    """Mask 99,999 of 100,000 classes."""
    x = np.full((1, 100_000), -math.inf)
    x[0, 50_000] = 3.5
    return rows(x, [50_000])


def first_tiles_masked(_: Format) -> HazardCase:
    """Mask whole tiles: the first one and one in the middle, of kernels that take 32, 64 or 128 classes."""
    x = np.linspace(-3.0, 3.0, 512)
    x[:128] = x[256:384] = -math.inf
    return rows(x[None, :], [500])


def tiny_temperature(fmt: Format) -> HazardCase:
    """Divide logits by 1e-5, or by the smallest temperature that the format survives."""
    return rows(np.array([[11.06, 11.0, -3.0]]) * min(1e5, fmt.max / 12.0), [1])


def many_rows(logits: Sequence[float], label: int, count: int) -> HazardCase:
    """Repeat a row, judged by the mean of the losses."""
    return rows(np.broadcast_to(np.asarray(logits), (count, len(logits))), np.full(count, label), reduced=True)


def extremes(fmt: Format) -> HazardCase:
    """Put the largest and the lowest number side by side, in both orders."""
    return rows([[fmt.max, -fmt.max], [-fmt.max, fmt.max]], [1, 1])


def ramp(fmt: Format, *, rising: bool) -> HazardCase:
    """Go from one end of the format to the other."""
    x = np.linspace(-1.0, 1.0, 16) * fmt.max
    return rows((x if rising else -x)[None, :], [7])


def subnormal_logits(fmt: Format) -> HazardCase:
    """Take logits around the smallest normal number and below."""
    tiny = fmt.smallest_subnormal
    return rows([[tiny, -tiny, 0.0], [3 * tiny, fmt.smallest_normal, -fmt.smallest_normal]], [0, 1])


def subnormal_probability(fmt: Format) -> HazardCase:
    """Take the label so far down that its probability is subnormal."""
    last = fmt.exp_underflow.last_good
    return rows([[0.0, last], [0.0, math.log(fmt.smallest_normal) - 1.0]], [1, 1])
