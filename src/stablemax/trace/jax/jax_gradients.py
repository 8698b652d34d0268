"""The backward pass of JAX code: how its cures are written, and what handed back a gradient of 0."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.gradients.differentiable import Dialect, ZeroHandedBack
from stablemax.trace.gradients.gradient_cures import called
from stablemax.trace.jax.equation import Equation, Number, is_float
from stablemax.trace.jax.jax_lines import Lines
from stablemax.trace.jax.jaxpr_shadow import outputs_of
from stablemax.trace.jax.movements import MOVED, MOVED_TOGETHER, positions
from stablemax.trace.observation import BACKWARD, Site

DIALECT = Dialect(
    modules={"jnp": ("jax.numpy", "import jax.numpy as jnp"), "jax": ("jax", "import jax")},
    words={
        "where": "{jnp}.where",
        "inf": "{jnp}.inf",
        "size": "abs({x})",
        "detach": "{jax}.lax.stop_gradient({x})",
        "keepdim": "keepdims",
        "log_sigmoid": "{jax}.nn.log_sigmoid",
        "log_softmax": "{jax}.nn.log_softmax",
    },
    hiding=frozenset(("stop_gradient", "custom_jvp", "custom_vjp", "custom_gradient", "pure_callback", "io_callback")),
)

_CUTS = "hands back 0 for what it cuts off"
_LEAVES = "hands back 0 for what it leaves out"
_UNTAKEN = "hands back 0 for the branch that it does not take"
_DEEDS = MappingProxyType(
    {
        **dict.fromkeys(("where", "select"), ("untaken-branch", _UNTAKEN)),
        **dict.fromkeys(("clip", "relu", "relu6"), ("masked-out", _CUTS)),
        **dict.fromkeys(("take", "take_along_axis", "sum"), ("masked-out", _LEAVES)),
        "maximum": ("masked-out", "hands back 0 to the smaller number"),
        "minimum": ("masked-out", "hands back 0 to the larger number"),
        "nan_to_num": ("masked-out", "hands back 0 for what it replaces"),
    }
)
"""Functions whose gradient may be 0, by the names that code calls them by."""


@dataclass(frozen=True, eq=False)
class _Made:
    """What one equation got and gave."""

    equation: Equation
    inputs: Sequence[Number]
    outputs: Sequence[Number]
    site: Site


@dataclass
class Kept:
    """Runs equations as they are and keeps all that they made: the step of a walk."""

    made: list[_Made] = field(default_factory=list)
    #: By the identity of a number, which `made` keeps alive: what made it.
    makers: dict[int, _Made] = field(default_factory=dict)

    def __call__(self, equation: Equation, inputs: list[Number], site: Site) -> list[Number]:
        """Run an equation, and keep its numbers."""
        if equation.name in MOVED_TOGETHER:
            return inputs
        outputs = [Number(value) for value in outputs_of(equation, inputs)]
        made = _Made(equation, inputs, outputs, site)
        self.made.append(made)
        self.makers.update((id(number), made) for number in outputs)
        return outputs

    def origin_of_zero(self, at: Site, lines: Lines) -> ZeroHandedBack | None:
        """Return what handed back the 0 that was multiplied with infinity on the way back through an expression.

        None where no 0 was, and where several were that come from different expressions.
        """
        origins = {
            self._origin(number, place, lines)
            for made in self.made
            if made.site.phase == BACKWARD and _place_of(made.site) == _place_of(at)
            for number, place in _zeros_by_infinity(made)
        }
        return origins.pop() if len(origins) == 1 else None

    def _origin(self, number: Number, place: int, lines: Lines) -> ZeroHandedBack | None:
        """Walk up from a 0, through what was handed a 0, too, to what was not."""
        made = self._on_the_way_back(number)
        while made is not None:
            zeros = [n for n in _taken(made, place) if self._on_the_way_back(n[0]) is not None]
            if not zeros:
                return _words(made, lines)
            if len(zeros) > 1:
                return None
            number, place = zeros[0]
            made = self._on_the_way_back(number)
        return None

    def _on_the_way_back(self, number: Number) -> _Made | None:
        """Return what made a number in the backward pass; None for one of the forward pass."""
        made = self.makers.get(id(number))
        return made if made is not None and made.site.phase == BACKWARD else None


def _place_of(site: Site) -> tuple[str, int, int]:
    return site.file, site.line, site.instruction


def _zeros_by_infinity(made: _Made) -> list[tuple[Number, int]]:
    """Return the operand that is 0, and its first place where the other is infinite, of a product; or of 0 / 0."""
    name = made.equation.name
    if name not in ("mul", "div") or not is_float(made.outputs[0].value):
        return []
    first, second = made.inputs
    a, b = (n.array.astype(np.float64) for n in made.inputs)
    if name == "div":
        where = np.flatnonzero((a == 0) & (b == 0))
        return [_within(first, made, int(where[0]))] if where.size else []
    for zero, other, number in ((a, b, first), (b, a, second)):
        where = np.flatnonzero((zero == 0) & ~np.isfinite(other))
        if where.size:
            return [_within(number, made, int(where[0]))]
    return []


def _within(number: Number, made: _Made, place: int) -> tuple[Number, int]:
    """Return a number with its own place of what stands at a place of the output: axes of size 1 are stretched."""
    spread = np.broadcast_to(positions(number.array.shape), made.outputs[0].array.shape)
    return number, int(spread.ravel()[place])


def _taken(made: _Made, place: int) -> list[tuple[Number, int]]:
    """Return the zeros that an equation got, with their places, of which it made the 0 that it gave at a place."""
    name, floats = made.equation.name, [n for n in made.inputs if n.is_float]
    if name == "select_n":
        return []  # it takes a 0 of its own
    if name in MOVED and len(floats) == 1:
        return _moved_from(made, floats[0], place)
    if name in ("mul", "div", "neg", "convert_element_type"):
        factors = [_within(n, made, place) for n in (floats[:1] if name == "div" else floats)]
        return [(n, own) for n, own in factors if float(n.array.astype(np.float64).ravel()[own]) == 0]
    return []


def _moved_from(made: _Made, number: Number, place: int) -> list[tuple[Number, int]]:
    """Return the number that a movement took to a place, where it took one there."""
    where = positions(number.array.shape)
    arrays = [where if n is number else n.array for n in made.inputs]
    with contextlib.suppress(TypeError, ValueError, IndexError):
        moved: Array = MOVED[made.equation.name](*arrays, **made.equation.params)
        return [(number, int(np.asarray(moved).ravel()[place]))]
    return []


def _words(made: _Made, lines: Lines) -> ZeroHandedBack | None:
    """Say what an expression does whose way back gives 0."""
    with contextlib.suppress(SyntaxError, ValueError):
        node: Any = ast.parse(lines.expression(made.site).strip() or "0", mode="eval").body
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return ZeroHandedBack("zero-times-infinity", "the product with 0 hands back 0")
        if isinstance(node, ast.Subscript):
            return ZeroHandedBack("masked-out", f"the index {_LEAVES}")
        pattern, deed = _DEEDS.get(called(node), ("", ""))
        return ZeroHandedBack(pattern, f"{ast.unparse(node.func)} {deed}") if pattern else None
    return None
