"""A failing input as Python to paste, and as a pytest test."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.laws import LAW_NAMES
from stablemax.formats import FORMATS
from stablemax.vocabulary import Operation, Reduction

if TYPE_CHECKING:
    from stablemax.check.target.call_style import Convention
    from stablemax.check.target.messages import Described
    from stablemax.formats import Array
    from stablemax.inputs.hazards import HazardCase
    from stablemax.results import Contract

_LARGEST = 64
"""Arrays of more cells are not spelled out, unless they have few runs of equal cells."""
_MOST_RUNS = 16

OURS = "stablemax.testing"
"""Where variants and built-ins are imported from; they take NumPy arrays."""


@dataclass(frozen=True)
class Call:
    """A call that breaks a contract.

    Parameters
    ----------
    described : Described
        What is called.
    way : Convention
        How.
    case : HazardCase
        The input.
    format : str
        The number format.
    contract : Contract
        What is broken.
    options : dict
        Keyword arguments: ``weight``, ``label_smoothing``, ``ignore_index``.
    reduction : Reduction
        What a gradient is the gradient of.
    backward : bool
        The gradient by autograd is what fails.
    """

    described: Described
    way: Convention
    case: HazardCase
    format: str
    contract: Contract
    options: dict[str, Any] = field(default_factory=dict)
    reduction: Reduction = Reduction.MEAN
    backward: bool = False

    @property
    def function_operation(self) -> Operation:
        """What the function itself computes: a loss, where its gradient is what is judged."""
        forward = {Operation.SOFTMAX_VJP: Operation.SOFTMAX, Operation.CROSS_ENTROPY_GRAD: Operation.CROSS_ENTROPY}
        return forward[self.described.operation] if self.backward else self.described.operation

    @property
    def backend(self) -> str:
        """Library whose arrays the call is written with."""
        return "numpy" if self.described.place == OURS else self.described.backend


def code_of(call: Call, comment: str) -> str:
    """Write the call that fails as Python.

    Parameters
    ----------
    call : Call
        What fails.
    comment : str
        What comes out, and what is right.

    Returns
    -------
    str
        Lines of Python; empty where the input is too large to spell out.
    """
    lines = _input(call)
    if not lines:
        return ""
    return "\n".join([*_imports(call), "", *lines, *_call(call), f"print(output)  # {comment}", ""])


def pytest_of(call: Call, what: str) -> str:
    """Write a pytest test that fails as long as the implementation does.

    Parameters
    ----------
    call : Call
        What fails.
    what : str
        What the input is, for the test's name.
    """
    lines = _input(call)
    if not lines:
        return ""
    title = re.sub(r"\W+", "_", f"{_title(call.described)} is accurate {what}").strip("_").lower()
    body = [*lines, *_call(call), f"assert_accurate({', '.join(_asserted(call))})"]
    head = _imports(call, "from stablemax.testing import assert_accurate")
    return "\n".join([*head, "", "", f"def test_{title}() -> None:", *(f"    {line}" for line in body), ""])


def pytest_of_laws(call: Call) -> str:
    """Write a pytest test that fails as long as the implementation breaks a law.

    Parameters
    ----------
    call : Call
        What breaks it.
    """
    described, contract = call.described, call.contract
    title = re.sub(r"\W+", "_", f"{_title(described)} keeps its laws").strip("_").lower()
    arguments = [described.expression, f'operation="{call.function_operation}"', f'formats=["{call.format}"]']
    if described.place != OURS and call.backend != "numpy":
        arguments.append(f'backend="{call.backend}"')
    if contract.allow:
        arguments.append(f"allow={list(contract.allow)!r}".replace("'", '"'))
    arguments += ['only=["gentle"]', "search=False", *(["backward=True"] if call.backward else [])]
    head = _imports(call, "from stablemax.testing import assert_stable")
    return "\n".join([*head, "", "", f"def test_{title}() -> None:", f"    assert_stable({', '.join(arguments)})", ""])


def _title(described: Described) -> str:
    """Name the implementation within a test's name."""
    return described.name if described.place == OURS else described.expression.rstrip("()").rpartition(".")[2]


def _asserted(call: Call) -> list[str]:
    """Arguments of `assert_accurate`: what was computed from what, and the contract where it is not the usual one."""
    operation, contract = call.described.operation, call.contract
    arguments = ["output", f'operation="{operation}"', "logits=x"]
    if operation.needs_targets:
        arguments.append("labels=y")
    if operation.needs_upstream:
        arguments.append("upstream=g")
    arguments += [f"{name}={'w' if name == 'weight' else value}" for name, value in _told(call).items()]
    if contract.max_ulp is not None:
        arguments.append(f"max_ulp={contract.max_ulp!r}")
    allowed = [name for name in contract.allow if name not in LAW_NAMES]
    if allowed:
        arguments.append(f"allow={allowed!r}".replace("'", '"'))
    if operation is Operation.CROSS_ENTROPY_GRAD and call.reduction is not Reduction.MEAN:
        arguments.append(f'reduction="{call.reduction}"')
    return arguments


def _told(call: Call) -> dict[str, Any]:
    """Options that change what is right; that -100 is ignored goes without saying."""
    return {name: value for name, value in call.options.items() if name != "ignore_index"}


def _imports(call: Call, *ours: str) -> list[str]:
    """Return the import lines, grouped as isort groups them."""
    described, backend = call.described, call.backend
    libraries = {
        "numpy": ["import numpy as np"],
        "torch": ["import torch"],
        "jax": ["import jax", "import jax.numpy as jnp"],
    }[backend]
    if backend == "numpy" and call.format not in ("float16", "float32", "float64"):
        libraries = ["import ml_dtypes", *libraries]
    if backend != "numpy" and call.way.by_row:
        libraries = ["import numpy as np", *libraries] if backend == "torch" else [*libraries, "import numpy as np"]
    after = ['jax.config.update("jax_enable_x64", True)'] if backend == "jax" else []
    place, first = described.place, re.split(r"\W", described.expression)[0]
    standard: list[str] = []
    if not place:
        after.append(f"# {first} stands for {described.name}: import it, or paste it here.")
        own: list[str] = []
    elif place == OURS:
        own = [", ".join([*(line for line in ours), first])] if ours else [f"from {OURS} import {first}"]
        ours = ()
    elif place.endswith(".py") or "/" in place:
        folder = Path(place).parent.as_posix()
        if folder != ".":
            standard = ["import sys"]
            after.append(f'sys.path.insert(0, "{folder}")')
        # After the path is set, whatever the order of imports.
        after.append(f"from {Path(place).stem} import {first}")
        own = []
    else:
        libraries = [*libraries, f"from {place} import {first}"]
        own = []
    groups = [standard, libraries, [*own, *ours], after]
    lines: list[str] = []
    for group in groups:
        if group:
            lines += [*([""] if lines else []), *group]
    return lines


def _call(call: Call) -> list[str]:
    operation, name, way = call.described.operation, call.described.expression, call.way
    second = "y" if operation.needs_targets else ("g" if operation.needs_upstream else "")
    options = [f"{way.axis}=-1"] if way.axis else []
    options += [f"{key}={'w' if key == 'weight' else value}" for key, value in call.options.items()]
    if call.backward:
        return _backward(call, name, "".join(f", {o}" for o in options))
    if way.by_row:
        arguments = ", ".join(["x[i]", *([f"{second}[i]"] if second else []), *options])
        return [f"output = np.stack([{name}({arguments}) for i in range(len(x))])"]
    return [f"output = {name}({', '.join(['x', *([second] if second else []), *options])})"]


def _backward(call: Call, name: str, options: str) -> list[str]:
    """Differentiate with the library's autograd: a loss, or a function with an upstream gradient."""
    of_loss = call.described.operation.needs_targets
    if call.backend == "jax":
        if of_loss:
            return [f"output = jax.grad(lambda x: jnp.sum({name}(x, y{options})))(x)"]
        return [f"output = jax.vjp(lambda x: {name}(x{options}), x)[1](g)[0]"]
    if of_loss:
        return ["x.requires_grad_()", f"(output,) = torch.autograd.grad({name}(x, y{options}).sum(), x)"]
    return ["x.requires_grad_()", f"(output,) = torch.autograd.grad({name}(x{options}), x, g)"]


def _input(call: Call) -> list[str]:
    """Lines that make the arrays; none where one is too large to spell out."""
    operation, case = call.described.operation, call.case
    arrays = {"x": (case.logits, call.format)}
    if operation.needs_targets:
        arrays["y"] = (case.labels, call.format if case.labels.ndim == 2 else "")
    if operation.needs_upstream:
        arrays["g"] = (case.upstream, call.format)
    if "weight" in call.options and case.weight is not None:
        arrays["w"] = (case.weight, call.format)
    written = {name: _array(values, call.backend, fmt) for name, (values, fmt) in arrays.items()}
    return [f"{name} = {text}" for name, text in written.items()] if all(written.values()) else []


# How each library makes an array, and a full one, of a dtype.
_MAKERS = {
    "numpy": ("np.array({}{})", "np.full({}, {}{})", "np"),
    "torch": ("torch.tensor({}{})", "torch.full({}, {}{})", "torch"),
    "jax": ("jnp.array({}{})", "jnp.full({}, {}{})", "jnp"),
}


def _array(values: Array, backend: str, fmt: str) -> str:
    made, full, module = _MAKERS[backend]
    if fmt:
        # The fewest digits that are read back as the same number of the format.
        shortest = [float(str(v)) for v in FORMATS[fmt].cast(values).ravel()]
        values = np.array(shortest).reshape(values.shape)
    owner = "ml_dtypes" if backend == "numpy" and fmt not in ("float16", "float32", "float64", "") else module
    dtype = f", dtype={owner}.{fmt}" if fmt else ""
    same = values.size > 1 and (values == values.flat[0]).all()
    if values.size > 8 and same:
        return full.format(tuple(values.shape), _number(values.flat[0]), dtype)
    return (
        _runs(values, backend, made, dtype) if values.size > _LARGEST else made.format(_nested(values.tolist()), dtype)
    )


def _runs(values: Array, backend: str, made: str, dtype: str) -> str:
    """Write a large array by its runs of equal cells; nothing where there are too many."""
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    if len(starts) > _MOST_RUNS:
        return ""
    cells = made.format(_nested(flat[starts].tolist()), dtype)
    counts = np.diff([*starts.tolist(), flat.size]).tolist()
    shape = tuple(values.shape)
    if backend == "torch":
        return f"torch.repeat_interleave({cells}, torch.tensor({counts})).reshape({shape})"
    repeated = f"jnp.repeat({cells}, jnp.array({counts}))" if backend == "jax" else f"np.repeat({cells}, {counts})"
    return f"{repeated}.reshape({shape})"


def _nested(values: object) -> str:
    return f"[{', '.join(map(_nested, values))}]" if isinstance(values, list) else _number(values)


def _number(value: object) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    return repr(number) if math.isfinite(number) else f'float("{number}")'
