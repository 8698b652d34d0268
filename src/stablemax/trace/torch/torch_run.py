"""PyTorch code run as it is, observed operator by operator, or with some of its operators put right."""

from __future__ import annotations

import contextlib
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import torch

from stablemax.libraries.torch_arrays import to_torch
from stablemax.text.errors import StablemaxError, shown
from stablemax.trace.exact_cells import cells_of, nearest
from stablemax.trace.run import FIRST_BITS, Run, Subject, decided, raised
from stablemax.trace.torch.dispatch import Escapes, Replace, Watch
from stablemax.trace.torch.storage import Shadows, wide
from stablemax.trace.torch.torch_lines import TORCH, Locator
from stablemax.trace.traced_code import boundary, code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stablemax.numerics.formats import Array
    from stablemax.trace.torch.dispatch import Fix


@dataclass(frozen=True)
class TorchRun(Run):
    """An observed run, and what each of its steps should have given."""

    fixes: Sequence[Fix] = ()


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

    backend = "torch"

    def plain(self) -> Run:
        """Run the code and measure nothing."""
        return self._repeated(None)

    def observed(self) -> TorchRun:
        """Run the code and observe each operator, with as many bits as the digits of its result take."""
        return decided(lambda bits: self.followed(bits=bits)[0], lambda _: self.format.precision)

    def rounded(self, run: Run, count: int) -> Run:
        """Repeat a run; its first operators give the exact value, rounded once, in place of their own."""
        return self._repeated(_fixes(run)[:count])

    def forgotten(self, run: Run, count: int) -> Run:
        """Repeat a run; the shadow starts again from the values that its first operators gave."""
        return self.followed(forgotten_to=_fixes(run)[count - 1].dispatch + 1, bits=run.bits)[0]

    def followed(self, *, forgotten_to: int = 0, bits: int = FIRST_BITS) -> tuple[TorchRun, Watch]:
        """Run the code and follow each operator, after the dispatches that are to be forgotten."""
        shadows = Shadows(*self.logits.shape)
        watch = Watch(shadows, Locator(code_of(self.code, alone=(TORCH,))), forgotten_to=forgotten_to)
        with flint.ctx.workprec(bits), self._settings():
            x, second = self._tensors()
            for t in (x, second):
                if t is not None and t.is_floating_point():
                    shadows.write(t, cells_of(wide(t)), shadows.of_logits, exact=True)
            with Escapes(watch), watch:
                result, forward = boundary(lambda: self._call(x, second))
            value = _values(result)
            exact = shadows.cells(result).copy() if isinstance(result, torch.Tensor) and shadows.has(result) else None
            if exact is None and forgotten_to:
                exact = cells_of(value)  # all that made it was forgotten: the shadow starts from the result
            losses = None if forward is None else _values(forward)
            if losses is not None and shadows.has(forward):
                losses = nearest(shadows.cells(forward)).reshape(losses.shape)
        is_compiled = watch.locator.compiled or hasattr(self.code, "_torchdynamo_orig_callable")
        run = TorchRun(
            value, exact, watch.steps, watch.records, watch.locator.functions, tuple(watch.not_followed.values()),
            forward=losses, notes=watch.notes, bits=bits, fixes=watch.fixes,
            asides=("torch.compile (the code was run uncompiled)",) if is_compiled else (),
        )  # fmt: skip
        return run, watch

    def _repeated(self, fixes: Sequence[Fix] | None) -> Run:
        x, second = self._tensors()
        with self._settings(), contextlib.nullcontext() if fixes is None else Replace(fixes):
            result, forward = boundary(lambda: self._call(x, second))
        return Run(_values(result), forward=None if forward is None else _values(forward))

    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Make fresh tensors of the arguments: a function may work in place."""
        x = to_torch(self.logits, self.device)
        second = None if self.second is None else to_torch(self.second, self.device)
        return x.requires_grad_(self.backward), second

    def _call(self, x: torch.Tensor, second: torch.Tensor | None) -> tuple[Any, Any]:
        """Call the function; return its result, or the gradient that autograd takes of that, and that."""
        given = (x,) if second is None or self.upstream else (x, second)
        out = self.function(*given)
        if not self.backward:
            return out, None
        if not (isinstance(out, torch.Tensor) and out.requires_grad):
            raise StablemaxError(
                "autograd cannot go back through the traced function: its output does not depend on the logits",
                "it must not leave PyTorch (.numpy(), .item()), nor detach",
            )
        g = second if self.upstream else torch.ones_like(out)
        (gradient,) = torch.autograd.grad(out, x, g, materialize_grads=True)
        return gradient, out

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
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


def _fixes(run: Run) -> Sequence[Fix]:
    assert isinstance(run, TorchRun), "only an observed run is repeated"
    return run.fixes


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
