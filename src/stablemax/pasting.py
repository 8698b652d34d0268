"""A failing input as Python to paste, and as a pytest test."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemax.implementations.loading import is_code

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.implementations.host import Described
    from stablemax.inputs.hazards import HazardCase

_LARGEST = 64
"""Arrays of more cells are not spelled out, unless all cells are equal."""


def code_of(
    described: Described, case: HazardCase, fmt: str, call: str, comment: str, *, backward: bool = False
) -> str:
    """Write the call that fails as Python.

    Parameters
    ----------
    described : Described
        What is called.
    case : HazardCase
        The input.
    fmt : str
        The number format.
    call : str
        How it is called: ``f(x)``, ``f(x, axis=-1)``, ``f(x[i])``.
    comment : str
        What comes out, and what is right.
    backward : bool
        The gradient by autograd is what fails.

    Returns
    -------
    str
        Lines of Python; empty where the input is too large to spell out.
    """
    lines = _input(described, case, fmt)
    if not lines:
        return ""
    imports, name = _imports(described, fmt)
    return "\n".join(
        [*imports, "", *lines, *_call(described, name, call, backward=backward), f"print(output)  # {comment}", ""]
    )


def pytest_of(described: Described, case: HazardCase, fmt: str, call: str, what: str, *, backward: bool = False) -> str:
    """Write a pytest test that fails as long as the implementation does.

    Parameters
    ----------
    described, case, fmt, call, backward
        As for `code_of`.
    what : str
        What the input is, for the test's name.
    """
    lines = _input(described, case, fmt)
    if not lines:
        return ""
    imports, name = _imports(described, fmt)
    operation = described.operation
    second = ""
    if operation.needs_targets:
        second = ", labels=y"
    elif operation.needs_upstream:
        second = ", upstream=g"
    title = re.sub(r"\W+", "_", f"{name.rpartition('.')[2]} is accurate {what}").strip("_").lower()
    body = [
        *lines,
        *_call(described, name, call, backward=backward),
        f'assert_accurate(output, operation="{operation}", logits=x{second})',
    ]
    head = [*imports, "", "from stablemax.testing import assert_accurate"]
    return "\n".join([*head, "", "", f"def test_{title}() -> None:", *(f"    {line}" for line in body), ""])


def _imports(described: Described, fmt: str) -> tuple[list[str], str]:
    """Return the import lines, and the name under which the function is then called."""
    library = {
        "numpy": ["import numpy as np"],
        "torch": ["import torch"],
        "jax": ["import jax", "import jax.numpy as jnp", "", 'jax.config.update("jax_enable_x64", True)'],
    }[described.backend if described.backend in ("numpy", "torch", "jax") else "numpy"]
    if fmt not in ("float16", "float32", "float64") and library == ["import numpy as np"]:
        library = ["import ml_dtypes", *library]
    if not is_code(described.name):
        own = ["import numpy as np", "", "from stablemax.testing import implementation"]
        return own, f'implementation("{described.name}")'
    place, _, name = described.name.rpartition(":")
    first = name.partition(".")[0]
    if not (place.endswith(".py") or "/" in place):
        return [*library, "", f"from {place} import {first}"], name
    path = Path(place)
    folder = path.parent.as_posix()
    if folder == ".":
        return [*library, "", f"from {path.stem} import {first}"], name
    return ["import sys", "", *library, "", f'sys.path.insert(0, "{folder}")', f"from {path.stem} import {first}"], name


def _call(described: Described, name: str, call: str, *, backward: bool) -> list[str]:
    operation = described.operation
    second = ", y" if operation.needs_targets else (", g" if operation.needs_upstream else "")
    options = call.partition("x")[2].removesuffix(")") if "x[i]" not in call else ""
    if not backward:
        if "x[i]" in call:
            rows = f", {second[2:]}[i]" if second else ""
            return [f"output = np.stack([{name}(x[i]{rows}) for i in range(len(x))])"]
        return [f"output = {name}(x{second}{options})"]
    if described.backend == "jax":
        if operation.needs_targets:
            return [f"output = jax.grad(lambda x: jnp.sum({name}(x, y{options})))(x)"]
        return [f"output = jax.vjp(lambda x: {name}(x{options}), x)[1](g)[0]"]
    if operation.needs_targets:
        return ["x.requires_grad_()", f"(output,) = torch.autograd.grad({name}(x, y{options}).sum(), x)"]
    return ["x.requires_grad_()", f"(output,) = torch.autograd.grad({name}(x{options}), x, g)"]


def _input(described: Described, case: HazardCase, fmt: str) -> list[str]:
    backend = described.backend if is_code(described.name) and described.backend in _MAKERS else "numpy"
    logits = _array(case.logits, backend, fmt)
    if not logits:
        return []
    lines = [f"x = {logits}"]
    if described.operation.needs_targets:
        labels = _array(case.labels, backend, fmt if case.labels.ndim == 2 else "")
        if not labels:
            return []
        lines.append(f"y = {labels}")
    if described.operation.needs_upstream:
        lines.append(f"g = {_array(case.upstream, backend, fmt)}")
    return lines


# How each library makes an array, and a full one, of a dtype.
_MAKERS = {
    "numpy": ("np.array({}{})", "np.full({}, {}{})", "np"),
    "torch": ("torch.tensor({}{})", "torch.full({}, {}{})", "torch"),
    "jax": ("jnp.array({}{})", "jnp.full({}, {}{})", "jnp"),
}


def _array(values: Array, backend: str, fmt: str) -> str:
    made, full, module = _MAKERS[backend]
    owner = "ml_dtypes" if backend == "numpy" and fmt not in ("float16", "float32", "float64", "") else module
    dtype = f", dtype={owner}.{fmt}" if fmt else ""
    same = values.size > 1 and (values == values.flat[0]).all()
    if values.size > (8 if same else _LARGEST):
        return full.format(tuple(values.shape), _number(values.flat[0]), dtype) if same else ""
    return made.format(_nested(values.tolist()), dtype)


def _nested(values: object) -> str:
    return f"[{', '.join(map(_nested, values))}]" if isinstance(values, list) else _number(values)


def _number(value: object) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    return repr(number) if math.isfinite(number) else f'float("{number}")'
