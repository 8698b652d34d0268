"""The trace of PyTorch code: run as it is, observed operator by operator, or with some operators put right."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, Unpack

import flint
import numpy as np
import torch

from stablemax.libraries.torch_arrays import to_numpy, to_torch
from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError, shown
from stablemax.trace import expected_of
from stablemax.trace.cures.flow import Flow
from stablemax.trace.divergences import Leads, of_all, of_none
from stablemax.trace.exact_cells import cells_of, nearest
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.leaks import Foreign, Scale, without_leaks
from stablemax.trace.line_values import LineValues
from stablemax.trace.run import FIRST_BITS, Fix, Given, Inputs, Run, Subject, decided, raised, with_exact_branches
from stablemax.trace.story import About, name_of, tell
from stablemax.trace.torch.dispatch import Escapes, Replace, Watch
from stablemax.trace.torch.foreign_tensors import ForeignTensors
from stablemax.trace.torch.gradient_flow import DIALECT, zero_before
from stablemax.trace.torch.storage import Shadows, wide
from stablemax.trace.torch.torch_lines import TORCH, Locator
from stablemax.trace.traced_code import boundary, code_of

if TYPE_CHECKING:
    from stablemax.trace.gradients.differentiable import ZeroHandedBack
    from stablemax.trace.gradients.singular_points import SingularPoint
    from stablemax.trace.observation import Observation
    from stablemax.trace.own_truth import OwnTruth

_FORMATS = ("float16", "bfloat16", "float32", "float64")
_SCRIPTED = (torch.jit.ScriptFunction, torch.jit.ScriptModule, torch._C.ScriptMethod)


def trace_torch(
    function: Callable[..., Any],
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    code: Callable[..., Any] | None = None,
    device: str = "cpu",
    backward: bool = False,
    max_ulp: float | None = None,
    given: Given | None = None,
    targets: TargetOptions | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace PyTorch code, operator by operator, and judge its result.

    Every dispatched operator runs on the tensors as it does without us, and once more exactly, in balls; one for which
    there are no balls is run in float64. Views and writes in place are followed by the storage that they share. With
    `backward`, `function` is the forward pass and `operation` its gradient; a loss given as a gradient is recognised
    by its shape. A label of -100 marks a row that does not count. `given` is what the function gets, where that is not
    the rows rounded to the format.

    Operations are called ``aten.exp``; those of the backward pass stand on the line whose forward operator made their
    autograd node, or on their own line in an autograd Function.

    >>> import numpy as np
    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_torch(lambda x: torch.exp(x) / torch.exp(x).sum(1, keepdim=True),
    ...     np.array([[1.0, 2.0], [1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2]
    ('nan',
     'exp overflows for 1 of 4 cells (first: row 1, class 0, logit 1000.0); it overflows above 88.723 in float32')
    """
    refuse_untraceable(fmt, device, (function, code), about)
    expected = replace(expected_of(operation, logits, second, fmt, max_ulp, targets), numbers=about.get("numbers"))
    upstream = backward and operation.needs_upstream
    given = given or Given(expected.logits, expected.second)
    subject = TorchCode(given, fmt, function, code or function, device, backward, upstream)
    if operation.of_losses and not backward:
        subject = replace(subject, backward=subject.plain().value.shape != logits.shape)
    return tell(subject, expected, about)


def refuse_untraceable(fmt: Format, device: str, functions: Sequence[Callable[..., Any] | None], about: About) -> None:
    """Raise `StablemaxError` for a format or a device that PyTorch lacks, and for code without lines of Python."""
    if fmt.name not in _FORMATS:
        raise StablemaxError(f"PyTorch does not compute in {fmt.name}", f"--format {', '.join(_FORMATS)}")
    _check_device(device)
    if any(isinstance(f, _SCRIPTED) for f in functions):
        raise StablemaxError(
            f"{name_of(about)} is TorchScript, which is not traced: it has no lines of Python",
            "trace the function as it is before torch.jit; stablemax check judges TorchScript too",
        )


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise StablemaxError(
            f"PyTorch has no device {device!r} here: {str(error).partition(chr(10))[0]}", "--device cpu"
        ) from None


@dataclass(frozen=True)
class TorchCode(Subject):
    """PyTorch code and its input."""

    #: The function whose file is the traced code: `function` itself, unless that only wraps it.
    code: Callable[..., Any]
    device: str = "cpu"
    #: The result is the gradient that autograd takes of the function's output.
    backward: bool = False
    #: `second` is the upstream gradient of that, and not for the function.
    upstream: bool = False
    #: So many of the arrays, the first ones, get a gradient: that of several is one row of all their numbers.
    leaves: int = 1
    #: Numbers of the arrays, counted through all of them, that are exactly more than the tensors hold, and by how much.
    nudges: Mapping[int, Any] = field(default_factory=dict)

    backend = "torch"
    records_flow = True

    def plain(self) -> Run:
        """Run the code and measure nothing."""
        return self._repeated(None)

    def observed(self) -> Run:
        """Run the code and observe each operator, with as many bits as the digits of its result take."""
        run = decided(lambda bits: self.followed(bits=bits)[0], lambda _: self.format.precision)
        if isinstance(self.given, GivenArguments):  # of an operation, the truth is known from elsewhere
            run = without_leaks(replace(run, has_foreign=True), self.foreign)
        return with_exact_branches(run, lambda: self.led(run, of_all))

    def foreign(self, scale: Scale) -> Foreign | None:
        """Return what comes in from elsewhere where the arguments are scaled; None where the code does not run."""
        tensors = [to_torch(scale(array), self.device) for array in self.given.arguments]
        for tensor in tensors[: self.leaves]:
            tensor.requires_grad_(self.backward)
        with contextlib.suppress(StablemaxError), self.settings(), ForeignTensors(tensors, self._locator()) as mode:
            boundary(lambda: self._call(tensors))
            return mode.found
        return None

    def rounded(self, run: Run, count: int) -> Run:
        """Repeat a run; its first operators give the exact value, rounded once, in place of their own."""
        return self._repeated(run.fixes[:count])

    def values_by_line(self) -> list[LineValues]:
        """Run the code and keep the exact values of each operator."""
        values: list[LineValues] = []
        self.followed(leads=of_all, values=values)
        return values

    def led(self, run: Run, leads: Leads, forgotten_to: int = 0) -> Run:
        """Repeat a run with exact answers to some comparisons; its first operators are forgotten."""
        dispatches = run.fixes[forgotten_to - 1].dispatch + 1 if forgotten_to else 0
        return self.followed(forgotten_to=dispatches, bits=run.bits, leads=leads)[0]

    def valued(self, run: Run, steps: Collection[int]) -> Run:
        """Repeat a run; where exact results of some operators have no value they get one."""
        return self.followed(bits=run.bits, valued=steps)[0]

    @property
    def is_gradient(self) -> bool:
        """True for a backward pass."""
        return self.backward

    def recorded(self, bits: int = FIRST_BITS) -> tuple[Run, Flow]:
        """Run the code and record its data flow."""
        flow = Flow()
        run, _ = self.followed(bits=bits, flow=flow)
        return run, flow

    def recorded_from(self, key: Hashable, bits: int) -> Flow:
        """Record the data flow where the shadow starts from what an operator really got."""
        flow = Flow()
        self.followed(bits=bits, flow=flow, forgotten_to=_placed(key)[0])
        return flow

    def with_outputs(self, outputs: Mapping[Hashable, Array]) -> Run:
        """Run the code without its shadow; operators get other outputs, by their dispatch and output."""
        return self._repeated([Fix(*_placed(key), values) for key, values in outputs.items()])

    def flow_key(self, run: Run, index: int) -> Hashable:
        """Return the dispatch and the output of an operator."""
        return run.fixes[index].dispatch, run.fixes[index].output

    def followed(
        self,
        *,
        forgotten_to: int = 0,
        bits: int = FIRST_BITS,
        leads: Leads = of_none,
        values: list[LineValues] | None = None,
        valued: Collection[int] = (),
        flow: Flow | None = None,
        measures: bool = True,
    ) -> tuple[Run, Watch]:
        """Run the code and follow each operator, after the dispatches that are to be forgotten, and measure it."""
        shadows = Shadows(*self.given.size)
        watch = Watch(shadows, self._locator(), forgotten_to=forgotten_to, leads=leads)
        watch.values, watch.valued, watch.flow, watch.measures = values, valued, flow, measures
        with flint.ctx.workprec(bits), self.settings():
            tensors = self.tensors()
            for i, (tensor, places) in enumerate(zip(tensors, self.given.placed(shadows.of_logits), strict=True)):
                if tensor.is_floating_point():
                    exact_cells = self.given.cells_of_first() if i == 0 else cells_of(wide(tensor))
                    is_exact = not self.nudges and (i > 0 or self.given.first_is_exact)
                    shadows.write(tensor, self._nudged(exact_cells, i), places, exact=is_exact)
                    if flow is not None:
                        flow.add_argument(i, to_numpy(tensor), shadows.cells(tensor))
            with Escapes(watch), watch:
                result, forward = boundary(lambda: self._call(tensors))
            value = _values(result)
            # What a branch returns may be a constant, which needs no shadow; so may a gradient: that of floor is 0.
            is_constant = (bool(watch.divergences) or self.backward) and not watch.not_followed
            has_cells = isinstance(result, torch.Tensor) and (shadows.has(result) or is_constant)
            exact = shadows.cells(result).copy() if has_cells else None
            if exact is None and forgotten_to:
                exact = cells_of(value)  # all that made it was forgotten: the shadow starts from the result
            losses = None if forward is None else _values(forward)
            if losses is not None and shadows.has(forward):
                losses = nearest(shadows.cells(forward)).reshape(losses.shape)
        for key, count in watch.sample.skipped.items():
            if key in watch.records:
                watch.records[key].skip(count)
        is_compiled = watch.locator.compiled or hasattr(self.code, "_torchdynamo_orig_callable")
        run = Run(
            value, exact, watch.steps, watch.records, watch.locator.functions, tuple(watch.not_followed.values()),
            dtype=str(getattr(result, "dtype", "")).removeprefix("torch."),
            forward=losses, notes=watch.notes, bits=bits, fixes=watch.fixes, divergences=watch.divergences,
            is_sampled=bool(watch.sample.skipped), is_doubtful=watch.is_doubtful,
            asides=("torch.compile (the code was run uncompiled)",) if is_compiled else (),
        )  # fmt: skip
        return self.given.as_rows(run), watch

    def _locator(self) -> Locator:
        """Return what finds the lines of a run."""
        return Locator(code_of(self.code, alone=(TORCH,)))

    def _repeated(self, fixes: Sequence[Fix] | None) -> Run:
        tensors = self.tensors()
        with self.settings(), contextlib.nullcontext() if fixes is None else Replace(fixes):
            result, forward = boundary(lambda: self._call(tensors))
        return self.given.as_rows(Run(_values(result), forward=None if forward is None else _values(forward)))

    def tensors(self) -> list[torch.Tensor]:
        """Make fresh tensors of the arguments: a function may work in place."""
        tensors = [to_torch(array, self.device) for array in self.given.arguments]
        for tensor in tensors[: self.leaves]:
            tensor.requires_grad_(self.backward)
        return tensors

    def _nudged(self, exact_cells: Array, argument: int) -> Array:
        """Add to the exact cells of an argument what they are more than its tensor."""
        first = sum(array.size for array in self.given.arguments[:argument])
        inside = {n - first: by for n, by in self.nudges.items() if first <= n < first + exact_cells.size}
        if not inside:
            return exact_cells
        flat = exact_cells.flatten()
        for number, by in inside.items():
            flat[number] = flat[number] + by
        return flat.reshape(exact_cells.shape)

    def explained(self, trace: Trace, expected: OwnTruth) -> Trace:
        """Name the cause of a gradient that is infinite or NaN, with a cure that was run."""
        if not self.backward or self.upstream or expected.run.is_sampled:
            return trace
        from stablemax.trace.gradients.gradient_cause import with_cause

        return with_cause(self, trace, expected)

    dialect = DIALECT

    def on(self, given: Inputs) -> Self:
        """Return the same code on another input."""
        return replace(self, given=given)

    def rerun(self) -> Run:
        """Run the code as it now is."""
        return self.plain()

    def exact_losses(self) -> Array | None:
        """Return the exact results of the forward pass."""
        return self.followed()[0].forward

    def nudged_losses(self, nudges: Mapping[int, Any], bits: int) -> Array | None:
        """Return exact cells of the forward code's results where numbers of the input are more; None where unknown."""
        nudged = replace(self, backward=False, nudges=nudges)
        try:
            run, watch = nudged.followed(bits=bits, measures=False)
        except StablemaxError:
            return None
        return None if run.not_followed or watch.in_float64 else run.exact

    def own_rules(self) -> frozenset[str]:
        """Return no name: an autograd Function is called by ``apply``, which hides a derivative anyhow."""
        return frozenset()

    def zero_before(self, step: Observation, point: SingularPoint) -> ZeroHandedBack | None:  # noqa: ARG002 - the node tells
        """Return what handed back a gradient of 0 to a node of a point."""
        return zero_before(self, point.nodes)

    def _call(self, tensors: Sequence[torch.Tensor]) -> tuple[Any, Any]:
        """Call the function; return its result, or the gradient that autograd takes of that, and that."""
        out = self.function(*tensors[: 1 if self.upstream else None])
        if not self.backward:
            return out, None
        if not (isinstance(out, torch.Tensor) and out.requires_grad):
            raise StablemaxError(
                "autograd cannot go back through the traced function: its output does not depend on "
                + ("its first array" if self.leaves == 1 else "any of its arrays"),
                "it must not leave PyTorch (.numpy(), .item()), nor detach",
            )
        # Of one number autograd makes the 1 itself: a given one it compares by symbols, whose import takes seconds.
        ones = None if out.ndim == 0 else torch.ones_like(out)
        g = tensors[1] if self.upstream else ones
        gradients = torch.autograd.grad(out, tensors[: self.leaves], g, materialize_grads=True)
        if len(gradients) == 1:
            return gradients[0], out
        return torch.cat([gradient.reshape(-1) for gradient in gradients]), out

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Set up what all runs have alike: random numbers, autograd, no compiled code, no warnings."""
        dynamo = sys.modules.get("torch._dynamo")
        eager = torch.compiler.set_stance("force_eager") if dynamo is not None else contextlib.nullcontext()
        devices = [self.device] if self.device.startswith("cuda") else []
        with (
            torch.random.fork_rng(devices=devices),
            torch.enable_grad(),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
            eager,
        ):
            warnings.simplefilter("ignore")
            try:
                yield
            except StablemaxError:
                raise
            except Exception as error:
                raise StablemaxError(*raised(error, code_of(self.code, alone=(TORCH,)).holds)) from error


def _placed(key: Hashable) -> tuple[int, str, int]:
    """Return the dispatch, any name, and the output that a flow node has for its key."""
    assert isinstance(key, tuple), "an operator is known by its dispatch and output"
    dispatch, output = key
    return dispatch, "", output


def _values(result: Any) -> Array:
    """Take a result to float64."""
    if isinstance(result, torch.Tensor) and not result.is_complex():
        return wide(result)
    if isinstance(result, (float, int, list, np.ndarray, np.generic)) and not isinstance(result, bool):
        with contextlib.suppress(TypeError, ValueError):
            return np.asarray(result, dtype=np.float64)
    raise StablemaxError(
        f"the traced function returns {shown(type(result).__name__)}, not a tensor of real numbers",
        "return the result as a torch.Tensor",
    )
