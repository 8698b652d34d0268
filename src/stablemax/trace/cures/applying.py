"""The code of a pattern, computed on the numbers that the operations of a run really had."""

from __future__ import annotations

import contextlib
import importlib
import math
import re
import warnings
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import format_or_none

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import Flow, Operand
    from stablemax.trace.cures.matching import Match

MODULES = MappingProxyType(
    {
        "np": "numpy", "math": "math", "torch": "torch", "F": "torch.nn.functional", "jax": "jax", "jnp": "jax.numpy",
        "special": "scipy.special",
    }
)  # fmt: skip
"""What the code of patterns calls modules."""


def modules_in(code: str) -> dict[str, ModuleType]:
    """Return the modules that code reads by their names.

    Raises `ModuleNotFoundError` where one of them is not installed.

    >>> list(modules_in("np.special_sum(x) + math.log(2)"))
    ['np', 'math']
    """
    read = (name for name in MODULES if re.search(rf"(?<![\w.]){name}\.", code))
    return {name: importlib.import_module(MODULES[name]) for name in read}


def written(code: str, match: Match, names: dict[str, str], backend: str) -> str:
    """Write the code of a pattern with expressions for its leaves.

    >>> from types import SimpleNamespace
    >>> match = SimpleNamespace(frame=None, constants={"eps": 1e-06})
    >>> written("np.log1p(({x} - 1) + {eps})", match, {"x": "p"}, "numpy")
    'np.log1p((p - 1) + 1e-06)'
    """
    values = {"k": "2", **{name: repr(_whole(number)) for name, number in match.constants.items()}, **names}
    fmt = format_or_none(match.root.values.dtype) if "{limit}" in code else None
    if fmt is not None:
        values["limit"] = str(math.floor(fmt.exp_overflow.real))
    if match.frame is None:
        return code.format_map(values)
    words = _axis_words(match, backend, names)
    text = code.format_map({**values, **words})
    reduction = match.frame.reduction
    if reduction is not None and reduction.is_of_all:
        # Methods take all axes where they get none.
        axes = rf"(?:axis=None|{re.escape(words['dim'])})(?:, keepdims?=True)?"
        text = re.sub(rf"\.(sum|mean|max|amax|cumsum)\({axes}\)", r".\1()", text)
    return text


def _axis_words(match: Match, backend: str, names: dict[str, str]) -> dict[str, str]:
    first = next(name for name in match.leaves if name in names)
    frame, operand = match.frame, match.leaf(first)
    assert frame is not None, "only what reduces has axes"
    ndim = len(operand.shape)
    axes = tuple(range(ndim)) if frame.reduction is None else frame.reduction.axes
    one = -1 if axes == (ndim - 1,) else axes[0] if len(axes) == 1 else None
    is_of_all = ndim == 0 or (frame.reduction is not None and frame.reduction.is_of_all)
    axis = "None" if is_of_all else repr(axes if one is None else one)
    dim = f"tuple(range({names[first]}.ndim))" if is_of_all and ndim != 1 else repr(axes if one is None else one)
    keep = {"torch": ", keepdim=True"}.get(backend, ", keepdims=True") if match.keeps_axes else ""
    count = f"{names[first]}.{'numel()' if backend == 'torch' else 'size'}"
    if not is_of_all:
        count = " * ".join(f"{names[first]}.shape[{a if one is None else one}]" for a in axes)
    of_dim = "" if is_of_all else f", dim={dim}"
    return {"axis": f"axis={axis}", "dim": dim, "of_dim": of_dim, "keep": keep, "count": count}


def _whole(number: float) -> float | int:
    return int(number) if number == int(number) and abs(number) < 2**31 else number


def output_of(code: str, match: Match, flow: Flow, backend: str) -> Array | None:
    """Compute the code of a pattern on the leaves of a match; return what stands in the place of the root's output.

    None where it does not fit that place.
    """
    names = {name: name for name in match.leaves}
    try:
        text = written(code, match, names, backend)
    except KeyError:
        return None  # it is about axes, and these operations take none together
    library = LIBRARIES[backend]
    try:
        modules = modules_in(text)
    except ModuleNotFoundError:
        return None  # what cannot be run here is not told
    with library.running(), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = {name: library.put(match.leaf(name), flow) for name in names}
        try:
            result = eval(text, {**modules, **arguments})  # noqa: S307 - code of a pattern of ours
        except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return None  # it is not for these arrays
    values = library.back(result)
    is_number = isinstance(result, (int, float)) and not isinstance(result, np.generic)
    return _in_place(values, match) if is_number or values.dtype == match.root.values.dtype else None


def _in_place(values: Array, match: Match) -> Array | None:
    root, frame = match.root, match.frame
    if frame is None:
        try:
            values = np.broadcast_to(values, root.shape)
        except ValueError:
            return None
    else:
        if values.size != math.prod(frame.shape):
            return None
        values = (
            values.ravel()[frame.positions].reshape(root.shape) if frame.positions.size == root.values.size else values
        )
    return values.astype(root.values.dtype) if values.shape == root.shape else None


def _number(operand: Operand, flow: Flow) -> float | None:
    """Return the number that the code gives itself, as Python has it: it takes the format of what it is used with."""
    read = flow.nodes[operand.reader].operands[operand.place] if operand.reader >= 0 else operand
    is_number = not read.shape and read.values.dtype in (np.float64, np.int64) and flow.origin(read) is None
    return read.values.item() if is_number else None


class _Numpy:
    """How numbers of a run get into NumPy, and results out of it."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def put(self, operand: Operand, flow: Flow) -> Any:
        number = _number(operand, flow)
        return operand.values if number is None else number

    def back(self, result: Any) -> Array:
        return np.asarray(result)


class _Torch:
    """How numbers of a run get into PyTorch, and results out of it."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def put(self, operand: Operand, flow: Flow) -> Any:
        from stablemax.libraries.torch_arrays import to_torch

        number = _number(operand, flow)
        return to_torch(operand.values) if number is None else number

    def back(self, result: Any) -> Array:
        from stablemax.libraries.torch_arrays import to_numpy

        return np.asarray(result) if isinstance(result, (int, float)) else to_numpy(result)


class _Jax:
    """How numbers of a run get into JAX, and results out of it."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        from stablemax.libraries.jax_arrays import JaxArrays

        return JaxArrays().running()

    def put(self, operand: Operand, flow: Flow) -> Any:
        from stablemax.libraries.jax_arrays import JaxArrays

        number = _number(operand, flow)
        return JaxArrays().put(operand.values, None) if number is None else number

    def back(self, result: Any) -> Array:
        return np.asarray(result)


LIBRARIES: MappingProxyType[str, _Numpy | _Torch | _Jax] = MappingProxyType(
    {"numpy": _Numpy(), "torch": _Torch(), "jax": _Jax()}
)
"""Libraries by their names."""
