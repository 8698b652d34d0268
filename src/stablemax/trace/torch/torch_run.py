"""Runs a PyTorch function, as it is, followed, or with some of its operators put right."""

from __future__ import annotations

import contextlib
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import torch

from stablemax.errors import StablemaxError, shown
from stablemax.peers.torch_arrays import to_torch
from stablemax.trace.exact_cells import cells_of, is_undecided, nearest
from stablemax.trace.torch.dispatch import Escapes, Fix, Replace, Watch
from stablemax.trace.torch.storage import Shadows, wide
from stablemax.trace.torch.torch_lines import Locator, boundary, home_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stablemax.formats import Array, Format

FIRST_BITS = 256
"""Of the shadow: enough for the digits of every number of float32."""

MORE_BITS = 4096
"""Where those leave a digit of the result open."""

_SPARE_BITS = 12


@dataclass(frozen=True)
class Task:
    """What is run on what.

    Parameters
    ----------
    function : callable
        ``f(x)`` or ``f(x, second)`` on tensors.
    logits : ndarray (N, K)
        In the format's own dtype.
    second : ndarray or None
        Labels (N,) of int64, or an upstream gradient (N, K) in the format's dtype.
    format : Format
        Of the logits.
    code : callable
        The function whose file is the traced code: `function` itself, unless that only wraps it.
    device : str
        As PyTorch names it.
    backward : bool
        True where the result is the gradient that autograd takes of the function's output.
    upstream : bool
        True where `second` is the upstream gradient of that, and not for the function.
    """

    function: Callable[..., Any]
    logits: Array
    second: Array | None
    format: Format
    code: Callable[..., Any]
    device: str = "cpu"
    backward: bool = False
    upstream: bool = False

    def row(self, index: int) -> Task:
        """The same on one row."""
        part = slice(index, index + 1)
        return replace(self, logits=self.logits[part], second=None if self.second is None else self.second[part])

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Make fresh tensors of the arguments: a function may work in place."""
        x = to_torch(self.logits, self.device)
        second = None if self.second is None else to_torch(self.second, self.device)
        return x.requires_grad_(self.backward), second

    def call(self, x: torch.Tensor, second: torch.Tensor | None) -> tuple[Any, Any]:
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


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Parameters
    ----------
    values : ndarray of float64
        The result.
    exact : object ndarray or None
        What exact arithmetic gives for the same code; None where the shadow did not reach the end.
    forward : ndarray of float64 or None
        What the gradient was taken of, in exact arithmetic where the shadow reached it; None where the
        result is no gradient of autograd.
    """

    values: Array
    exact: Array | None
    forward: Array | None = None


def plain_run(task: Task) -> Run:
    """Run a function as it is."""
    return _with_fixes(task, None)


def run_with(task: Task, fixes: Sequence[Fix]) -> Run:
    """Run a function with some of its operators put right."""
    return _with_fixes(task, fixes)


def _with_fixes(task: Task, fixes: Sequence[Fix] | None) -> Run:
    x, second = task.tensors()
    with _settings(task), contextlib.nullcontext() if fixes is None else Replace(fixes):
        result, forward = boundary(lambda: task.call(x, second))
    return Run(_values(result), None, None if forward is None else _values(forward))


def followed_run(task: Task, *, forgotten_to: int = 0, bits: int = FIRST_BITS) -> tuple[Run, Watch]:
    """Run a function and follow each of its operators.

    Parameters
    ----------
    task : Task
        What to run.
    forgotten_to : int
        How many dispatches to let pass before the shadow begins.
    bits : int
        Precision of the shadow.
    """
    shadows = Shadows(*task.logits.shape)
    watch = Watch(shadows, Locator(home_of(task.code)), forgotten_to=forgotten_to)
    with flint.ctx.workprec(bits), _settings(task):
        x, second = task.tensors()
        for t in (x, second):
            if t is not None and t.is_floating_point():
                shadows.write(t, cells_of(wide(t)), shadows.of_logits, exact=True)
        with Escapes(watch), watch:
            result, forward = boundary(lambda: task.call(x, second))
        exact = shadows.cells(result).copy() if isinstance(result, torch.Tensor) and shadows.has(result) else None
        before = None if forward is None else _values(forward)
        if before is not None and shadows.has(forward):
            before = nearest(shadows.cells(forward)).reshape(before.shape)
    return Run(_values(result), exact, before), watch


def decided_run(task: Task) -> tuple[Run, Watch, int]:
    """Follow a run with as many bits as its result takes, and return also how many these were."""
    run, watch = followed_run(task)
    if run.exact is None or not is_undecided(run.exact, task.format.precision + _SPARE_BITS).any():
        return run, watch, FIRST_BITS
    return *followed_run(task, bits=MORE_BITS), MORE_BITS


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


@contextlib.contextmanager
def _settings(task: Task) -> Iterator[None]:
    """Set up what each run is to have alike: random numbers, autograd, no compiled code, no warnings."""
    dynamo = sys.modules.get("torch._dynamo")
    eager = torch.compiler.set_stance("force_eager") if dynamo is not None else contextlib.nullcontext()
    devices = [task.device] if task.device.startswith("cuda") else []
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
            raise StablemaxError(*_words(error, task)) from error


def _words(error: Exception, task: Task) -> tuple[str, str]:
    """Say what the traced code raised, and where."""
    home = home_of(task.code)
    place, frame = "", error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if home and file.startswith(home):
            place = f" at {shown(Path(file).name)}:{frame.tb_lineno}"
        frame = frame.tb_next
    text = shown(" ".join(str(error).split()), 300)
    return (
        f"the traced function raises {type(error).__name__}{place}: {text}",
        "it is called with logits (N, K), and labels (N,) or an upstream gradient (N, K) if its operation has any",
    )
