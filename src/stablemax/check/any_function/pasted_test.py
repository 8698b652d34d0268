"""A breaking input of any function as Python to paste, and as a test that fails as long as the function does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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
    #: A template of the question whether all numbers of an array are finite.
    finite: str
    #: The lines that assign the gradient of a call for some arrays to `output`.
    gradient: Callable[[str, Sequence[str]], list[str]]
    after: tuple[str, ...] = ()
    #: A template of the line that lets random numbers begin at a seed.
    seeded: str = "np.random.seed({})"


def _by_torch(call: str, names: Sequence[str]) -> list[str]:
    lines = [f"{name}.requires_grad_()" for name in names]
    if len(names) == 1:
        return [*lines, f"(output,) = torch.autograd.grad({call}.sum(), {names[0]})"]
    inputs = ", ".join(names)
    lines.append(f"gradients = torch.autograd.grad({call}.sum(), [{inputs}], materialize_grads=True)")
    return [*lines, "output = torch.cat([gradient.ravel() for gradient in gradients])"]


def _by_jax(call: str, names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [f"output = jax.grad(lambda {names[0]}: jnp.sum({call}))({names[0]})"]
    inputs, places = ", ".join(names), tuple(range(len(names)))
    return [
        f"gradients = jax.grad(lambda {inputs}: jnp.sum({call}), argnums={places})({inputs})",
        "output = jnp.concatenate([gradient.ravel() for gradient in gradients])",
    ]


_NUMPY = _Library(
    ("import numpy as np",),
    "np.asarray({}, dtype=np.float64)",
    "np.testing.assert_allclose",
    "np.isfinite({}).all()",
    _by_jax,
)
_LIBRARIES: Mapping[str, _Library] = MappingProxyType({
    "numpy": _NUMPY,
    "torch": _Library(
        ("import torch",),
        "torch.as_tensor({}).detach().cpu().double()",
        "torch.testing.assert_close",
        "torch.isfinite({}).all()",
        _by_torch,
        seeded="torch.manual_seed({})",
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
    #: The names of the arrays that a gradient is taken for; none for the result itself.
    gradient_of: tuple[str, ...] = ()
    pick: Pick = None
    max_ulp: float | None = None

    def pasted(self) -> Pasted:
        """Write the call down, with the exact value of its result."""
        library = _LIBRARIES[self.written.backend]
        arrays = {name: self._literal(array) for name, array in self.inputs.items()}
        assertions = self._assertions(library)
        if not all(arrays.values()) or not assertions:
            return Pasted()
        seeded = [] if self.written.seed is None else [library.seeded.format(self.written.seed)]
        body = [*(f"{name} = {literal}" for name, literal in arrays.items()), *seeded, *self._call(library)]
        imports = self._imports(library)
        exactly = f"; exactly {_brief(self.judged.truth)}" if self._has_truth else ""
        code = [*imports, "", *body, f"print(output)  # {_brief(self.judged.value)}{exactly}", ""]
        test = [*imports, "", "", f"def test_{self._title()}() -> None:", *(f"    {x}" for x in [*body, *assertions])]
        return Pasted("\n".join(code), "\n".join([*test, ""]))

    @property
    def _has_truth(self) -> bool:
        """False for a gradient that has no exact value where the function has a derivative, and for an own infinity."""
        return bool(self.judged.counts.ravel()[self.judged.cell])

    def _assertions(self, library: _Library) -> list[str]:
        """Write the lines that fail on what came out; none where it is too large to spell out."""
        judged, fmt, wide = self.judged, FORMATS[self.judged.format], library.wide.format("output")
        if not self._has_truth:
            why = "The function has a derivative there." if self.gradient_of else "The input has no infinity."
            return [f"# {why}", f"assert {library.finite.format(wide)}"]
        kept = np.flatnonzero(judged.counts)
        selected = "" if judged.counts.all() else f".ravel()[{kept.tolist()}]"
        right = judged.truth if not selected else judged.truth.ravel()[kept]
        expected = array_literal(right, "numpy" if self.written.backend == "jax" else self.written.backend, "float64")
        if not expected or not self._is_told_by(right, kept, fmt):
            return []
        return [
            f"# What exact arithmetic gives for the same code, rounded to {fmt.name}.",
            f"expected = {expected}",
            f"{library.compare}({wide}{selected}, expected, rtol={self._tolerance(fmt)}, atol=0.0)",
        ]

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

    def _call(self, library: _Library) -> list[str]:
        """Write the call that assigns `output`."""
        texts = {**{name: name for name in self.inputs}, **self.written.constants}
        by_position = [texts.pop(name) for name in self.written.by_position]
        arguments = ", ".join([*by_position, *(f"{name}={text}" for name, text in texts.items())])
        call = f"{self.written.expression}({arguments}){item_text(self.pick)}"
        if not self.gradient_of:
            return [f"output = {call}"]
        # That of several arrays is one row of all their numbers.
        of_all = self.judged.value.size == sum(self.inputs[name].size for name in self.gradient_of)
        return library.gradient(call, self.gradient_of if of_all else self.gradient_of[:1])

    def _imports(self, library: _Library) -> list[str]:
        backend = self.written.backend
        modules = {dtype_module(backend, a.dtype.name) for a in self.inputs.values() if a.dtype.kind not in "biu"}
        further = [f"import {module}" for module in sorted(modules - {""})]
        code = CodeToImport(self.written.module, self.written.expression, self.name)
        return import_lines([*further, *library.imports], (), library.after, code)

    def _title(self) -> str:
        name = self.written.expression.removesuffix(".forward").replace("()", "")
        numbers = [f"{n} {float(str(a.ravel()[0])):g}" for n, a in self.inputs.items() if a.size == 1]
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
