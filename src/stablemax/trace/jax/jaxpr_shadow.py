"""Runs every equation of a jaxpr twice: as JAX does, and exactly on the shadows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stablemax.numerics.formats import FORMATS, Array
from stablemax.trace.cures.flow import Flow, Reduction
from stablemax.trace.divergences import Divergence, Leads, divergence_of, exact_answers, of_none
from stablemax.trace.exact_cells import cells_of, nearest, settled, with_values
from stablemax.trace.jax.equation import UNBOUND, Equation, Number, is_float, placed_like
from stablemax.trace.jax.exact_matrix_primitives import FACTORISED, MATRICES
from stablemax.trace.jax.exact_primitives import (
    COMPARISONS,
    EXACT,
    FROM_THE_VALUE,
    WORDS,
    NotExact,
    as_matrices,
    truncated,
)
from stablemax.trace.jax.exact_windows import WINDOWS
from stablemax.trace.jax.jax_lines import Lines
from stablemax.trace.jax.movements import MOVED, MOVED_TOGETHER
from stablemax.trace.jax.plain_arithmetic import computed_alike
from stablemax.trace.line_values import LineValues
from stablemax.trace.long_loops import LoopSample
from stablemax.trace.observation import Observation, Record, Site, observe, record_of
from stablemax.trace.run import Fix
from stablemax.trace.traced_code import display_name

See = Callable[[Number], Array]

_COPIES = frozenset(("convert_element_type", "scatter"))
_OPAQUE = ("random_", "rng_", "pure_callback", "io_callback", *UNBOUND)
"""What does not give the same again, or that only in one dtype."""
_ORDERS = frozenset(("sort", "top_k", "argmax", "argmin"))


class NotFollowed(Exception):  # noqa: N818 - not an error: the run goes on with the plain value
    """A primitive that not even float64 could stand in for."""


@dataclass
class Shadowing:
    """Follows a run equation by equation: the step of a walk."""

    lines: Lines
    #: Measure every equation; without, only the shadow is kept.
    watch: bool = True
    leads: Leads = of_none
    #: So many numbers, from the first, are forgotten: the shadow starts again from their values.
    forgotten_to: int = 0
    #: Steps, by their numbers, whose exact results get a number where they have none.
    valued: Collection[int] = ()
    values: list[LineValues] | None = None
    #: Where the data flow is recorded, if it is.
    flow: Flow | None = None
    ticks: int = 0
    comparisons: int = 0
    divergences: list[Divergence] = field(default_factory=list)
    steps: list[Observation] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)
    records: dict[tuple[Any, ...], Record] = field(default_factory=dict)
    sample: LoopSample = field(default_factory=LoopSample)
    not_followed: dict[tuple[str, int], str] = field(default_factory=dict)
    in_float64: dict[str, None] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say which primitives have no exact form, and whether all were measured."""
        names = ", ".join(self.in_float64)
        in_float64 = (f"compared with float64, not with exact arithmetic: {names}",) if names else ()
        return (*in_float64, *self.sample.notes)

    def __call__(self, equation: Equation, inputs: list[Number], site: Site) -> list[Number]:
        """Run an equation, and follow it."""
        if equation.name in MOVED_TOGETHER:
            return inputs
        values = outputs_of(equation, inputs)
        floats = [n for n in inputs if n.is_float]
        if not equation.gives_floats:
            return self._without_floats(equation, inputs, values, site)
        if not floats or equation.name in FROM_THE_VALUE:
            return self._without_shadow(values)
        try:
            exact = computed(equation, inputs, lambda n: n.exact, values, self.in_float64)
        except NotFollowed:
            if any(n.cells is not None for n in floats):
                self.lose(equation.name, site)
            return self._without_shadow(values)
        local = self._local(equation, inputs, values, exact)
        return [
            self._finished(equation, inputs, i, value, exact[i], local, site) if is_float(value) else Number(value)
            for i, value in enumerate(values)
        ]

    def _without_shadow(self, values: Sequence[Any]) -> list[Number]:
        self.ticks += sum(map(is_float, values))
        return [Number(value) for value in values]

    def _local(
        self, equation: Equation, inputs: Sequence[Number], values: Sequence[Any], exact: list[Any]
    ) -> Callable[[], list[Any]]:
        @functools.cache
        def local() -> list[Any]:
            if all(n.is_exact for n in inputs):
                return exact
            with contextlib.suppress(NotFollowed):
                return computed(equation, inputs, lambda n: n.own, values, self.in_float64)
            return exact

        return local

    def _finished(
        self,
        equation: Equation,
        inputs: Sequence[Number],
        output: int,
        value: Any,
        cells: Array,
        local: Callable[[], list[Any]],
        site: Site,
    ) -> Number:
        """Measure one output, record it and give it its shadow."""
        tick, self.ticks = self.ticks, self.ticks + 1
        exact, array, name = cells.reshape(value.shape), np.asarray(value), equation.name
        if self.values is not None:
            self.values.append(LineValues(display_name(site.file), site.line, nearest(exact).ravel()))
        if tick < self.forgotten_to:
            return Number(value, cells_of(array))
        if name in MOVED:
            return Number(value, exact, all(n.is_exact for n in inputs))
        if self.flow is not None:
            return self._recorded(self.flow, equation, inputs, tick, value, exact, site)
        if tick in self.valued:
            exact = with_values(exact)
        fmt, label = FORMATS[array.dtype.name], f"lax.{name}"
        if not self.watch or not self.sample.takes((site, label, output, fmt.name), array, len(self.steps)):
            return Number(value, exact, is_exact=False)
        here = local()[output].reshape(value.shape)
        word, operands = _word(equation, inputs), _operands(equation, inputs)
        seen = observe(word, site, len(self.steps), fmt, array, exact, here, operands, label=label, output=output)
        if name not in _COPIES or seen.local_error_ulp or seen.events:
            self.steps.append(seen)
            self.fixes.append(Fix(tick, name, output, fmt.round(nearest(exact))))
            record_of(seen, self.records, Record, self.sample.runs[site, label, output, fmt.name] - 1)
        return Number(value, exact, not (seen.error_ulp or seen.inf or seen.nan or seen.lost or seen.events))

    def _recorded(
        self,
        flow: Flow,
        equation: Equation,
        inputs: Sequence[Number],
        tick: int,
        value: Any,
        exact: Array,
        site: Site,
    ) -> Number:
        """Record an equation in the data flow."""
        name = _word(equation, inputs)
        own = flow.add(
            tick, name, np.asarray(value), exact, _operands(equation, inputs),
            reduction=_reduction(equation, inputs), source=self.lines.range(site),
        )  # fmt: skip
        return Number(value, own, is_exact=False)

    # --- what gives no numbers of a format ------------------------------------------------------

    def _without_floats(
        self, equation: Equation, inputs: Sequence[Number], values: list[Any], site: Site
    ) -> list[Number]:
        """Answer a comparison exactly, too; note where numbers leave their shadow."""
        name = _comparison(equation)
        if name and any(n.is_float for n in inputs):
            return [Number(self._compared(name, inputs, values[0], site))]
        is_lost = any(n.cells is not None for n in inputs) and equation.name not in _ORDERS
        if is_lost and not (equation.name == "convert_element_type" and _is_cut_alike(inputs[0], values[0])):
            losses = {"convert_element_type": "conversion to integers", "bitcast_convert_type": "the bits of a number"}
            what = "complex numbers" if equation.gives_complex else losses.get(equation.name, equation.name)
            self.lose(what, site)
        return [Number(value) for value in values]

    def _compared(self, name: str, inputs: Sequence[Number], answers: Any, site: Site) -> Any:
        number, self.comparisons = self.comparisons, self.comparisons + 1
        operands = [(n.array, n.exact) for n in inputs]
        floats = np.asarray(answers)
        exact = exact_answers(name, [c for _, c in operands], floats)
        if not np.array_equal(floats, exact):
            text = self.lines.expression(site) or name
            self.divergences.append(divergence_of(number, len(self.steps), site, text, floats, exact, operands))
        return exact if self.leads(number) else answers

    def lose(self, what: str, site: Site) -> None:
        """Record that the shadow could not follow something, with its line."""
        where = f" at {Path(site.file).name}:{site.line}" if site.file else ""
        self.not_followed.setdefault((site.file, site.line), f"{what}{where}")


@dataclass
class Correcting:
    """Runs equations as they are, but for some numbers that are what they should have been: the step of a walk."""

    fixes: Mapping[int, Fix]
    ticks: int = 0

    def __call__(self, equation: Equation, inputs: list[Number], site: Site) -> list[Number]:  # noqa: ARG002 - a step
        """Run an equation, and put right what it gives where there is a fix."""
        if equation.name in MOVED_TOGETHER:
            return inputs
        values = outputs_of(equation, inputs)
        if not equation.gives_floats:
            return [Number(value) for value in values]
        return [Number(self._corrected(equation, value)) if is_float(value) else Number(value) for value in values]

    def _corrected(self, equation: Equation, value: Any) -> Any:
        fix = self.fixes.get(self.ticks)
        self.ticks += 1
        # Once a number is right the code may take other branches, where this is another equation.
        if fix is None or fix.operation not in ("", equation.name) or fix.values.shape != value.shape:
            return value
        return placed_like(fix.values, value)


def outputs_of(equation: Equation, inputs: Sequence[Number]) -> list[Any]:
    """Run an equation: what moves numbers, or rounds them correctly, is left to NumPy, which compiles nothing first."""
    move = MOVED.get(equation.name)
    if not any(_is_key(n.value) for n in inputs):
        if move is not None:
            # Parameters of another version of JAX, which the function here lacks, are left to the primitive.
            with contextlib.suppress(TypeError):
                return _as_list(move(*(n.array for n in inputs), **equation.params))
        elif jax.default_backend() == "cpu":  # accelerators may divide less exactly
            alike = computed_alike(equation.name, equation.params, [n.array for n in inputs])
            if alike is not None:
                return [alike]
    return equation.bound([n.value for n in inputs])


def _is_key(value: Any) -> bool:
    return bool(jnp.issubdtype(value.dtype, jax.dtypes.extended))


def computed(
    equation: Equation, inputs: Sequence[Number], see: See, values: Sequence[Any], in_float64: dict[str, None]
) -> list[Any]:
    """Compute an equation exactly on what `see` shows of its inputs; in float64, and noted, where there is no way."""
    name = equation.name
    exactly = next((entries[name] for entries in (EXACT, MATRICES, WINDOWS, MOVED) if name in entries), None)
    if exactly is None and name in FACTORISED:
        exactly = functools.partial(FACTORISED[name], values)
    if exactly is not None:
        seen = [see(n) if n.is_float else n.array for n in inputs]
        # A way of calling it that the entry was not made for is left to float64, and noted.
        with contextlib.suppress(NotExact, TypeError, ValueError, IndexError):
            outputs = _as_list(exactly(*seen, **equation.params))
            return [None if cells is None else settled(cells) for cells in outputs]
    if name == "sort":
        return _sorted(equation, inputs, see)
    if name == "top_k":
        return [np.take_along_axis(see(inputs[0]), np.asarray(values[1]), axis=-1), None]
    return _in_float64(equation, inputs, see, in_float64)


def _sorted(equation: Equation, inputs: Sequence[Number], see: See) -> list[Any]:
    """Sort cells in the order of their values."""
    axis = equation.params["dimension"]
    shape = inputs[0].array.shape
    places = np.broadcast_to(np.arange(shape[axis]).reshape([-1 if d == axis else 1 for d in range(len(shape))]), shape)
    order = np.asarray(
        jax.lax.sort(
            [*(jnp.asarray(n.value) for n in inputs), jnp.asarray(places, dtype=jnp.int32)],
            dimension=axis, is_stable=equation.params["is_stable"], num_keys=equation.params["num_keys"],
        )[-1]
    )  # fmt: skip
    return [np.take_along_axis(see(n), order, axis=axis) if n.is_float else None for n in inputs]


def _in_float64(equation: Equation, inputs: Sequence[Number], see: See, in_float64: dict[str, None]) -> list[Any]:
    """Run a primitive in float64 on what `see` shows."""
    has_code = any(hasattr(value, "eqns") or hasattr(value, "jaxpr") for value in equation.params.values())
    if equation.name.startswith(_OPAQUE) or equation.gives_complex or has_code:
        raise NotFollowed
    wide = [nearest(see(n)) if n.is_float else n.value for n in inputs]
    for number, cells in zip(inputs, wide, strict=True):
        if number.is_float and (np.isinf(cells) & ~np.isinf(number.array.astype(np.float64))).any():
            raise NotFollowed
    params = {k: np.dtype(np.float64) if _is_float_type(v) else v for k, v in equation.params.items()}
    try:
        with jax.enable_x64(True):  # noqa: FBT003 - its signature
            outputs = equation.bound([jnp.asarray(w) if isinstance(w, np.ndarray) else w for w in wide], params)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise NotFollowed from error
    in_float64.setdefault(equation.name)
    return [cells_of(np.asarray(out)) if is_float(out) else None for out in outputs]


def _is_cut_alike(number: Number, integers: Any) -> bool:
    """Tell whether the exact cells are cut down to the same integers as the values."""
    return np.array_equal(nearest(truncated(number.exact)), np.asarray(integers).astype(np.float64))


def _comparison(equation: Equation) -> str:
    """Name a comparison as NumPy does; empty for what is none."""
    if equation.name == "convert_element_type" and np.dtype(equation.params["new_dtype"]) == np.bool_:
        return "nonzero"
    return COMPARISONS.get(equation.name, "")


def _word(equation: Equation, inputs: Sequence[Number]) -> str:
    """Name an equation as NumPy does: of products only that of two matrices or vectors is ``a @ b``."""
    if equation.name == "dot_general" and not _is_matmul(equation, inputs):
        return "einsum"
    return WORDS.get(equation.name, equation.name)


def _is_matmul(equation: Equation, inputs: Sequence[Number]) -> bool:
    (summed, _), batch = equation.params["dimension_numbers"]
    return not any(batch) and len(summed) == 1 and all(n.array.ndim <= 2 for n in inputs)


def _reduction(equation: Equation, inputs: Sequence[Number]) -> Reduction | None:
    """Return the axes that an equation takes together; None where it takes none together."""
    axes = equation.params.get("axes", equation.params.get("axis"))
    if axes is None or not equation.name.startswith(("reduce_", "cum")):
        return None
    listed = (axes,) if isinstance(axes, int) else tuple(axes)
    return Reduction(listed, is_of_all="axes" in equation.params and len(listed) == inputs[0].array.ndim)


def _operands(equation: Equation, inputs: Sequence[Number]) -> list[tuple[Array, Array]]:
    """Return the numbers that an equation calculates with, and their exact cells."""
    pairs = [(n.array, n.exact) for n in inputs if n.is_float or equation.name == "pow"]
    if equation.name == "integer_pow":
        exponent = np.asarray(float(equation.params["y"]))
        return [*pairs, (exponent, cells_of(exponent))]
    if equation.name == "dot_general" and _is_matmul(equation, inputs):
        return _factors(equation, pairs)
    return pairs


def _factors(equation: Equation, pairs: list[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Return the factors of a product of two matrices or vectors as NumPy's ``a @ b`` takes them."""
    (a, exact_a), (b, exact_b) = pairs
    numbers = equation.params["dimension_numbers"]
    left, right, _ = as_matrices(a, b, numbers)
    exact_left, exact_right, _ = as_matrices(exact_a, exact_b, numbers)
    first: Any = 0 if a.ndim == 1 else slice(None)
    last: Any = 0 if b.ndim == 1 else slice(None)
    return [(left[0][first], exact_left[0][first]), (right[0][:, last], exact_right[0][:, last])]


def _is_float_type(value: Any) -> bool:
    is_type = isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic))
    return is_type and np.dtype(value).name in FORMATS


def _as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]
