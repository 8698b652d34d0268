"""A breaking input of any function as Python to paste, and as a test that fails as long as the function does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stablemax.check.array_literals import array_literal, dtype_module
from stablemax.check.import_lines import CodeToImport, import_lines
from stablemax.check.target.returned import Pick, item_text
from stablemax.numerics.formats import FORMATS, Array, Format

if TYPE_CHECKING:
    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.any_function.judged_input import JudgedInput
    from stablemax.check.any_function.written_target import WrittenTarget


class _Library(NamedTuple):
    """How code of a library is written down."""

    imports: tuple[str, ...]
    #: A template of an output as float64.
    wide: str
    #: The function that compares two arrays.
    compare: str
    after: tuple[str, ...] = ()


_NUMPY = _Library(("import numpy as np",), "np.asarray({}, dtype=np.float64)", "np.testing.assert_allclose")
_LIBRARIES: Mapping[str, _Library] = MappingProxyType({
    "numpy": _NUMPY,
    "torch": _Library(
        ("import torch",), "torch.as_tensor({}).detach().cpu().double()", "torch.testing.assert_close"
    ),
    "jax": _NUMPY._replace(
        imports=("import jax", "import jax.numpy as jnp", "import numpy as np"),
        after=('jax.config.update("jax_enable_x64", True)',),
    ),
})  # fmt: skip


class Pasted(NamedTuple):
    """Code that shows a failure, and a test; both empty where the input is too large to spell out."""

    code: str = ""
    test: str = ""


@dataclass(frozen=True, eq=False)
class BreakingCall:
    """A call of any function that breaks it."""

    written: WrittenTarget
    #: What the user calls it.
    name: str
    inputs: Inputs
    judged: JudgedInput
    #: The name of the array that a gradient is taken for; empty for the result itself.
    gradient_of: str = ""
    pick: Pick = None
    max_ulp: float | None = None

    def pasted(self) -> Pasted:
        """Write the call down, with the exact value of its result."""
        library = _LIBRARIES[self.written.backend]
        arrays = {name: self._literal(array) for name, array in self.inputs.items()}
        fmt, judged = FORMATS[self.judged.format], self.judged
        kept = np.flatnonzero(judged.counts)
        selected = "" if judged.counts.all() else f".ravel()[{kept.tolist()}]"
        right = judged.truth if not selected else judged.truth.ravel()[kept]
        expected = array_literal(right, "numpy" if self.written.backend == "jax" else self.written.backend, "float64")
        if not all(arrays.values()) or not expected or not self._is_told_by(right, kept, fmt):
            return Pasted()
        body = [*(f"{name} = {literal}" for name, literal in arrays.items()), *self._call()]
        imports = self._imports(library)
        comment = f"{_brief(judged.value)}; exactly {_brief(judged.truth)}"
        code = [*imports, "", *body, f"print(output)  # {comment}", ""]
        compared = f"{library.wide.format('output')}{selected}, expected, rtol={self._tolerance(fmt)}, atol=0.0"
        assertions = [
            f"# What exact arithmetic gives for the same code, rounded to {fmt.name}.",
            f"expected = {expected}",
            f"{library.compare}({compared})",
        ]
        test = [*imports, "", "", f"def test_{self._title()}() -> None:", *(f"    {x}" for x in [*body, *assertions])]
        return Pasted("\n".join(code), "\n".join([*test, ""]))

    def _is_told_by(self, right: Array, kept: Array, fmt: Format) -> bool:
        """Tell whether the written test fails on what came out."""
        rtol = (2.0 ** (fmt.precision / 2) if self.max_ulp is None else self.max_ulp) * 2.0**-fmt.precision
        value = self.judged.value.astype(np.float64).ravel()[kept].reshape(right.shape)
        return not np.allclose(value, right, rtol=rtol, atol=0.0)

    def _tolerance(self, fmt: Format) -> str:
        if self.max_ulp is None:
            return f"2**-{fmt.precision / 2:g}"
        return f"{self.max_ulp!r} * 2**-{fmt.precision}"

    def _literal(self, array: Array) -> str:
        """Write an array in its dtype; empty where it is too large."""
        backend, name = self.written.backend, array.dtype.name
        if name in FORMATS and array.dtype.kind not in "biu":
            return array_literal(array, backend, name)
        written = array_literal(array, backend, "")
        if not written or name in ("int64", "bool"):
            return written
        module = {"numpy": "np", "torch": "torch", "jax": "jnp"}[backend]
        return f"{written.removesuffix(')')}, dtype={module}.{name})"

    def _call(self) -> list[str]:
        """Write the call that assigns `output`."""
        texts = {**{name: name for name in self.inputs}, **self.written.constants}
        by_position = [texts.pop(name) for name in self.written.by_position]
        arguments = ", ".join([*by_position, *(f"{name}={text}" for name, text in texts.items())])
        call = f"{self.written.expression}({arguments}){item_text(self.pick)}"
        if not self.gradient_of:
            return [f"output = {call}"]
        x = self.gradient_of
        return [f"{x}.requires_grad_()", f"(output,) = torch.autograd.grad({call}.sum(), {x})"]

    def _imports(self, library: _Library) -> list[str]:
        backend = self.written.backend
        modules = {dtype_module(backend, a.dtype.name) for a in self.inputs.values() if a.dtype.kind not in "biu"}
        further = [f"import {module}" for module in sorted(modules - {""})]
        code = CodeToImport(self.written.module, self.written.expression, self.name)
        return import_lines([*further, *library.imports], (), library.after, code)

    def _title(self) -> str:
        name = self.written.expression.removesuffix(".forward").replace("()", "")
        numbers = [f"{n} {a.ravel()[0]!s}" for n, a in self.inputs.items() if a.size == 1]
        at = f" at {' and '.join(numbers)}" if 0 < len(numbers) == len(self.inputs) else ""
        text = f"{name}{at} in {self.judged.format}".replace("-", " minus ").replace("+", "")
        words = re.sub(r"\W+", "_", text).strip("_").lower()
        return f"accuracy_of_{words}"


def _brief(values: Array) -> str:
    """Write an array on a line; of a long one the beginning.

    >>> _brief(np.float32([[1.5, np.inf]])), _brief(np.float32(2))
    ('[[1.5, inf]]', '2.0')
    """
    text = str(values.astype(np.float64).tolist())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."


_MOST_CHARACTERS = 40
