"""What is computed of each block of rows of a large input: an operation, by a method."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from stablemax.compute.proved import accurate
from stablemax.compute.streaming import STEPS, Part, Progress, Resources, for_engine, plan, total_of
from stablemax.inputs.blocks import Block
from stablemax.inputs.input_warnings import Noticed, inexact_integers, inexact_notes, odd_targets, soft_target_notes
from stablemax.inputs.logits import Stream
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import long_rows
from stablemax.kernels.passes import Passes, Ways, is_worth_loops, ways_by
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import Additive
from stablemax.numerics.formats import FLOAT64, Array, Format, format_of
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import TargetOptions, check_options, second_of, targets_of
from stablemax.operations.variant import Variant, default_id, evaluate, get
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation


@dataclass(frozen=True)
class Method:
    """The numerical method, where it is not the default one."""

    variant: Variant | None = None  #: by default `wide`, in float64 the accurate variant
    format: Format | None = None  #: of an array by default the input's own, float64 for integers; of a loss float64
    accumulation: Accumulation | None = None  #: by default what an ordinary kernel of the format does
    exact: bool = False  #: whether every result is proved to be the nearest number

    @property
    def is_formula(self) -> bool:
        """Whether a formula is computed as it is written, rounding errors and all."""
        return self.variant is not None or self.accumulation is not None

    def result_format(self, stream: Stream) -> Format:
        """Return the format of an array."""
        return self.format or format_of(stream.logits.dtype)


@dataclass(frozen=True)
class Noticings(Additive):
    """What a block of logits and targets gave reason to note; those of several blocks merge in any order."""

    odd: Noticed = field(default_factory=Noticed)  #: soft targets that do not sum to 1
    inexact: Noticed = field(default_factory=Noticed)  #: integers that float64 cannot hold

    def notes(self, stream: Stream) -> tuple[str, ...]:
        """Word them, a sentence each."""
        odd = soft_target_notes(self.odd, stream.sources[-1].name)
        return (*odd, *inexact_notes(self.inexact, stream.sources[0].name))


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """An operation of an input, called with a block of rows; it can be sent to another process."""

    stream: Stream  #: logits, and the labels or the second array of the operation
    operation: Operation
    method: Method
    options: TargetOptions  #: weights, smoothing, ignored label
    step: int = 1  #: how many rows are computed at once
    uses_loops: bool = False  #: whether Numba makes the passes of the kernels; it changes no bit
    may_use_loops: bool = True  #: whether `run` may choose them

    @cached_property
    def xp(self) -> Arithmetic:
        """The arithmetic of the result."""
        return Arithmetic(self.method.format or FLOAT64, self.method.accumulation)

    @cached_property
    def ways(self) -> Ways:
        """Who makes the passes of the kernels."""
        return ways_by(uses_loops=self.uses_loops)

    @property
    def passes(self) -> Passes:
        """Who makes those of float64 results."""
        return self.ways.careful

    @property
    def formula(self) -> str:
        """Id of the variant that the results are those of."""
        return self.method.variant.id if self.method.variant else default_id(self.operation, self.xp.format)

    @property
    def has_plain_labels(self) -> bool:
        """True where the targets are labels as they are: neither soft nor smoothed."""
        return not (self.stream.has_soft_targets or self.options.label_smoothing)

    @property
    def proves(self) -> bool:
        """Whether the kernels may leave a row in doubt."""
        return True

    @property
    def is_fast(self) -> bool:
        """True where the kernels compute it, for a proof in float64 those of Numba alone."""
        return self.has_kernel and (self.uses_loops or not self.needs_loops)

    @property
    def has_kernel(self) -> bool:
        """True where there is a kernel of it."""
        raise NotImplementedError

    @property
    def needs_loops(self) -> bool:
        """True where the kernel is a proof in float64, which NumPy has not."""
        return self.method.exact and self.xp.format == FLOAT64

    def rehearse(self) -> None:
        """Run the kernels on two logits, so that Numba has compiled what the workers run."""
        raise NotImplementedError

    def __call__(self, block: Block, workspace: Workspace) -> Any:
        """Compute a block."""
        raise NotImplementedError

    def run(self, nothing: Part, resources: Resources, progress: Progress | None, *, steps: int = STEPS) -> Part:
        """Compute all blocks of the input, and merge what they give; `nothing` is what no block gives."""
        stream, variant = self.stream, self.method.variant
        job = replace(self, uses_loops=self._is_worth_loops(resources))
        chosen = plan(
            stream.rows,
            stream.classes,
            resources,
            whole=variant is not None and not variant.rowwise,
            by_variant=not job.is_fast,
            may_prove=job.proves if job.is_fast else not job.method.is_formula,
            steps=steps,
        )
        job = replace(job, stream=for_engine(stream, resources), step=chosen.step)
        if job.uses_loops:
            if progress is not None:
                progress(0, stream.logits.size_bytes, "the kernels, which are compiled once on a machine")
            job.rehearse()
        return total_of(job, chosen, nothing, stream, resources, progress, self.formula)

    def _is_worth_loops(self, resources: Resources) -> bool:
        cells = self.stream.rows * self.stream.classes
        # Another machine need not have Numba.
        may_be = self.has_kernel and self.may_use_loops and not resources.elsewhere
        return may_be and is_worth_loops(cells, once=resources.once, proves=self.needs_loops)

    def read_second(self, block: Block, workspace: Workspace) -> Any:
        """Read the labels of a block, or the array (n, K) that the operation takes; None for none."""
        if self.operation.needs_targets:
            return self.stream.read_labels(block, self.options.ignore_index, workspace)
        if self.operation.second is Second.NONE or self.stream.labels is None:
            return None
        in_unit_range = self.operation.second is Second.CELL_TARGETS
        return self.stream.read_array(block, workspace, in_unit_range=in_unit_range)

    def odd_targets(self, labels: Any, first_row: int) -> Noticed:
        """Count soft targets that do not sum to 1."""
        is_soft = self.operation.needs_targets and labels.ndim == 2
        return odd_targets(labels, first_row) if is_soft else Noticed()

    def second(self, x: Array, labels: Array | None, second_xp: Arithmetic, divisor: float = 1.0) -> Any:
        """Return labels, or the second array, of rows that count as what formulas take, in `second_xp`."""
        if self.operation.needs_targets:
            assert labels is not None
            return targets_of(labels, x.shape[1], self.options, second_xp, divisor)
        return second_of(self.operation, labels, second_xp, divisor, self.options)

    def evaluate(self, x: Array, labels: Array | None, second_xp: Arithmetic, divisor: float = 1.0) -> Array:
        """Run the formula, or what is accurate, on logits (n, K) of rows that count, and on what `second` gives."""
        second = self.second(x, labels, second_xp, divisor)
        if self.method.is_formula:
            return evaluate(get(self.formula), self.xp.array(x), self.xp, second)
        found = accurate(self.operation, self.in_format(x).astype(np.float64), second, self.xp.format)
        return found[:, 0] if self.operation.per_row else found

    def in_format(self, x: Array) -> Array:
        """Round logits to the format that was asked for."""
        return x if self.method.format in (None, format_of(x.dtype)) else self.xp.array(x)

    def sums_of_long_row(self, row: int, workspace: Workspace) -> tuple[RowSums, Noticed]:
        """Return the sums of a row that is too long to be taken at once, and its integers that float64 cannot hold."""
        noticed = Noticed()

        def read(first: int, last: int) -> Array:
            nonlocal noticed
            x = self.stream.logits.read(row, row + 1, workspace, first=first, last=last)
            noticed += inexact_integers(x, row, first)
            return self.in_format(x)

        return long_rows.sums(read, self.stream.classes, self.passes, workspace), noticed


def check_second(operation: Operation, stream: Stream, options: TargetOptions) -> None:
    """Refuse an input that lacks what the operation takes beside the logits, and options that do not fit."""
    result = operation.noun or operation
    if operation.needs_targets:
        if stream.labels is None:
            raise StablemaxError(
                f"a {result} needs labels", "give a file of labels, or name a column with --label-column"
            )
    elif operation.second is Second.CELL_TARGETS and not stream.has_soft_targets:
        raise StablemaxError(
            f"a {result} needs a target for each logit", "name a file of targets in the shape of the logits"
        )
    elif operation.second is not Second.NONE and not stream.has_soft_targets:
        raise StablemaxError(f"{operation} needs its {operation.second.value}", "one number for each logit")
    if operation.takes_labels:
        check_options(options, stream.classes)
