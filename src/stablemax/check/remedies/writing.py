"""A remedy written out as a function with the user's own name and parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.numerics.formats import FLOAT16, FLOAT32, Format
from stablemax.operations.operation import Operation, Second
from stablemax.text.vocabulary import Reduction

if TYPE_CHECKING:
    from stablemax.check.remedies.remedy import Remedy
    from stablemax.check.target.messages import TargetInfo

_AXES = ("axis", "dim")
_TORCH_OPTIONS = ("weight", "ignore_index", "label_smoothing")
_BESIDE_LOGITS = re.compile(
    r"y|t|g|(y_)?true|labels?|targets?|one_?hot|grads?(_out(put)?)?|d_?(out|y)|upstream|.*_(true|targets?|labels?)"
)
"""Names of a parameter that takes what stands beside the logits."""
_IMPORTS = (
    (r"\bnp\.", "import numpy as np"),
    (r"\bjax\.", "import jax"),
    (r"\bjnp\.", "import jax.numpy as jnp"),
    (r"\btorch\.", "import torch"),
    (r"\bF\.", "import torch.nn.functional as F"),
)


@dataclass(frozen=True)
class Heading:
    """The name and the parameters of a function, and which of these are its arguments."""

    name: str
    #: As declared: ``logits, labels, axis=-1``.
    signature: str
    names: tuple[str, ...]
    x: str
    y: str

    @property
    def axis(self) -> str:
        """The parameter that names the axis of the classes, or the last axis."""
        return next((name for name in _AXES if name in self.names), "-1")


@dataclass(frozen=True)
class Form:
    """What the function gives: one number or many, and in which format it is to hold."""

    reduction: Reduction
    #: True for one number for all rows.
    is_reduced: bool
    format: Format
    #: The second argument is an array of the format, not class numbers.
    is_soft: bool = False

    @property
    def reduces_by(self) -> str:
        """Name of the method that makes one number; empty where each row keeps its own."""
        return str(self.reduction) if self.is_reduced else ""


def heading_of(info: TargetInfo, operation: Operation) -> Heading:
    """Read a function's name and parameters; `x` and `y` where Python cannot show them."""
    name = info.expression.replace("()", "").rpartition(".")[2]
    names = _parameters(info.signature)
    count = 1 if operation.second is Second.NONE else 2
    signature = info.signature
    if len(names) < count:
        names = ("x", "y")[:count]
        signature = ", ".join(names)
    x, y = (names[0], names[1]) if count == 2 else (names[0], "")
    if count == 2 and _BESIDE_LOGITS.fullmatch(x) and not _BESIDE_LOGITS.fullmatch(y):
        x, y = y, x
    return Heading(name if name.isidentifier() else operation.name, signature, names, x, y)


def _parameters(signature: str) -> tuple[str, ...]:
    """Name the parameters of a signature that a caller passes by position, then the others; none of ``*args``."""
    try:
        (function,) = ast.parse(f"def f({signature}): pass").body
    except SyntaxError:
        return ()
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    return tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def wider_formats(fmt: Format, backend: str) -> Sequence[str]:
    """Return the dtypes in which more digits are kept, as they are written.

    >>> wider_formats(FLOAT16, "numpy"), wider_formats(FLOAT32, "torch")
    (('np.float32', 'np.float64'), ('torch.float64',))
    """
    module = {"numpy": "np", "torch": "torch", "jax": "jnp"}[backend]
    wider = [name for f, name in ((FLOAT16, "float32"), (FLOAT32, "float64")) if fmt.precision <= f.precision]
    return tuple(f"{module}.{name}" for name in wider)


def written(remedy: Remedy, heading: Heading, form: Form, wide: str = "") -> str:
    """Write a remedy as a module: its imports and the function."""
    by, is_torch = form.reduces_by, remedy.backend == "torch"
    is_mean = form.reduction is not Reduction.SUM
    sizes = {"over_rows": f"len({heading.y})", "over_kept": "len(z)"}
    sizes["over_cells"] = f"{heading.x}.numel()" if is_torch else f"{heading.x}.size"
    given = [name for name in _TORCH_OPTIONS if name in heading.names]
    slots = {
        "x": heading.x,
        "y": heading.y,
        "axis": heading.axis,
        "wide": wide,
        "reduce": f".{by}()" if by else "",
        "reduce_wide": f".{by}(dtype={wide})" if by else "",
        "reduction": by or "none",
        "options": "".join(f", {name}={name}" for name in given),
        "y_wide": f"{heading.y}.to({wide})" if form.is_soft else heading.y,
        **{slot: f" / {size}" if is_mean else "" for slot, size in sizes.items()},
    }
    body = re.sub(r"\{(\w+)\}", lambda m: slots[m[1]], remedy.body)
    if "ignore_index" in heading.names and not is_torch:
        body = body.replace("-100", "ignore_index")
    imports = [line for pattern, line in _IMPORTS if re.search(pattern, body)]
    lines = [f"    {line}" if line else "" for line in body.splitlines()]
    return "\n".join([*imports, "", "", f"def {heading.name}({heading.signature}):", *lines, ""])


def reason(remedy: Remedy, form: Form, wide: str = "") -> str:
    """Say why a remedy holds."""
    why = remedy.why.replace("{wide}", wide.rpartition(".")[2])
    is_narrow_mean = form.reduces_by == str(Reduction.MEAN) and form.format.precision <= FLOAT16.precision and not wide
    return f"{why}; the mean is added in float32" if is_narrow_mean else why
