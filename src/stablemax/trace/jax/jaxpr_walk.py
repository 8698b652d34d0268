"""The way through a jaxpr: its equations in order, calls entered, loops and branches taken as the numbers say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import as_array
from stablemax.trace.jax.equation import Equation, Number
from stablemax.trace.jax.jax_lines import Lines
from stablemax.trace.observation import Site

Step = Callable[[Equation, list[Number], Site], list[Number]]
"""What becomes of an equation that is neither call nor loop nor branch."""

_CALLS = frozenset((
    "jit", "pjit", "closed_call", "core_call", "core_closed_call", "checkpoint", "remat", "remat2", "custom_jvp_call",
    "custom_vjp_call", "custom_vjp_call_jaxpr",
))  # fmt: skip
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_UNSEEN = frozenset(("debug_callback", "debug_print"))


class Walk:
    """One way through a jaxpr; `step` computes each equation."""

    def __init__(self, lines: Lines, step: Step) -> None:
        self.lines = lines
        self.step = step

    def through(self, jaxpr: Any, numbers: Sequence[Number], above: Site | None = None) -> list[Number]:
        """Return what a jaxpr, closed or not, gives for numbers; `above` is the line that calls it."""
        above = above or Site()
        inner = getattr(jaxpr, "jaxpr", jaxpr)
        known: dict[Any, Number] = dict(zip(inner.invars, numbers, strict=True))
        known.update(zip(inner.constvars, map(Number, getattr(jaxpr, "consts", ())), strict=True))

        def read(variable: Any) -> Number:
            if isinstance(variable, Literal):
                literal: Any = variable
                return Number(np.asarray(literal.val, dtype=literal.aval.dtype))
            return known[variable]

        for source in inner.eqns:
            outputs = self.outputs(Equation(source), [read(v) for v in source.invars], above)
            known.update(zip(source.outvars, outputs, strict=True))
        return [read(v) for v in inner.outvars]

    def outputs(self, equation: Equation, inputs: list[Number], above: Site) -> list[Number]:
        """Return what one equation gives for numbers; `above` is the line that calls it."""
        name = equation.name
        if name in _UNSEEN:
            return []
        site = self.lines.site(equation.source, above)
        if name in _CALLS:
            body = next(equation.params[key] for key in _BODIES if key in equation.params)
            return self.through(body, inputs, site)
        flow = _FLOWS.get(name)
        return self.step(equation, inputs, site) if flow is None else flow(self, equation, inputs, site)


def _branch(walk: Walk, equation: Equation, inputs: list[Number], site: Site) -> list[Number]:
    branches = equation.params["branches"]
    chosen = min(max(int(inputs[0].array), 0), len(branches) - 1)
    return walk.through(branches[chosen], inputs[1:], site)


def _while(walk: Walk, equation: Equation, inputs: list[Number], site: Site) -> list[Number]:
    asked, done = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    of_condition, of_body, carry = inputs[:asked], inputs[asked : asked + done], inputs[asked + done :]
    while True:
        goes_on = walk.through(equation.params["cond_jaxpr"], [*of_condition, *carry], site)[0].array
        if not goes_on.any():
            return carry
        turned = walk.through(equation.params["body_jaxpr"], [*of_body, *carry], site)
        # Of a batch of loops, as vmap makes it, those that have ended keep what they have.
        carry = [_chosen(goes_on, *pair) for pair in zip(turned, carry, strict=True)] if goes_on.ndim else turned


def _scan(walk: Walk, equation: Equation, inputs: list[Number], site: Site) -> list[Number]:
    constants, carried, length = (equation.params[key] for key in ("num_consts", "num_carry", "length"))
    fixed, carry = inputs[:constants], inputs[constants : constants + carried]
    along = inputs[constants + carried :]
    turns = range(length)[::-1] if equation.params["reverse"] else range(length)
    rows: dict[int, list[Number]] = {}
    for turn in turns:
        outputs = walk.through(equation.params["jaxpr"], [*fixed, *carry, *(_item(n, turn) for n in along)], site)
        carry, rows[turn] = outputs[:carried], outputs[carried:]
    if not length:
        kinds: list[Any] = [variable.aval for variable in equation.source.outvars[carried:]]
        return [*carry, *(Number(jnp.zeros(kind.shape, kind.dtype)) for kind in kinds)]
    return [*carry, *map(_stacked, zip(*(rows[turn] for turn in range(length)), strict=True))]


def _linear_solve(walk: Walk, equation: Equation, inputs: list[Number], site: Site) -> list[Number]:
    """Go through what solves, of a solver that also has its product and the transposed ones."""
    lengths, bodies = equation.params["const_lengths"], equation.params["jaxprs"]
    start = lengths.matvec + lengths.vecmat
    constants, right_side = inputs[start : start + lengths.solve], inputs[sum(lengths) :]
    return walk.through(bodies.solve, [*constants, *right_side], site)


def _is_key(value: Any) -> bool:
    return bool(jnp.issubdtype(value.dtype, jax.dtypes.extended))


def _chosen(condition: Array, new: Number, old: Number) -> Number:
    """Return cells of `new` where a condition on the leading axes holds, of `old` elsewhere."""
    if _is_key(new.value):
        which = condition.reshape(condition.shape + (1,) * (new.value.ndim - condition.ndim))
        return Number(jnp.where(which, new.value, old.value))
    which = condition.reshape(condition.shape + (1,) * (new.array.ndim - condition.ndim))
    has_cells = new.cells is not None or old.cells is not None
    cells = np.where(which, new.exact, old.exact) if has_cells else None
    return Number(np.where(which, new.array, old.array), cells, new.is_exact and old.is_exact)


def _item(number: Number, index: int) -> Number:
    if _is_key(number.value):
        return Number(number.value[index])
    cells = None if number.cells is None else as_array(number.cells[index])
    return Number(np.asarray(number.array[index]), cells, number.is_exact)


def _stacked(numbers: Sequence[Number]) -> Number:
    if _is_key(numbers[0].value):
        return Number(jnp.stack([n.value for n in numbers]))
    has_cells = any(n.cells is not None for n in numbers)
    cells = np.stack([n.exact for n in numbers]) if has_cells else None
    return Number(np.stack([n.array for n in numbers]), cells, all(n.is_exact for n in numbers))


_FLOWS: dict[str, Callable[[Walk, Equation, list[Number], Site], list[Number]]] = {
    "cond": _branch,
    "while": _while,
    "scan": _scan,
    "custom_linear_solve": _linear_solve,
}


# --- which equations only a gradient needs ------------------------------------------------------


def needed_for(jaxpr: Any, outputs: Sequence[bool]) -> set[int]:
    """Return the identities of the equations that some outputs of a jaxpr need; those of calls too.

    >>> jaxpr = jax.make_jaxpr(lambda x: (jnp.exp(x), jnp.log(x)))(1.0)
    >>> len(needed_for(jaxpr, [True, False]))
    1
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    wanted = {v for v, is_wanted in zip(inner.outvars, outputs, strict=True) if is_wanted and _is_variable(v)}
    needed: set[int] = set()
    for source in reversed(inner.eqns):
        given = [v in wanted for v in source.outvars]
        if not any(given):
            continue
        needed.add(id(source))
        body = _body_of(source)
        if body is not None:
            needed |= needed_for(body, given)
        wanted |= {v for v in source.invars if _is_variable(v)}
    return needed


def _body_of(source: Any) -> Any:
    if str(source.primitive.name) not in _CALLS:
        return None
    return next((source.params[key] for key in _BODIES if key in source.params), None)


def _is_variable(variable: Any) -> bool:
    return not isinstance(variable, Literal)
