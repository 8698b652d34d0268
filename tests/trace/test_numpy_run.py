"""NumPy code on shadowed arrays: the values of an ordinary run, and the exact numbers beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy import zeros as made_of_zeros

from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from stablemax.text.errors import StablemaxError
from stablemax.trace import exact_cells as cells
from stablemax.trace import run_in_shadow
from stablemax.trace.numpy.numpy_run import run_decided
from stablemax.trace.traced_code import Code

from ..records import CROSS_ENTROPY

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array, Format

FORMATS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)


def logits(fmt: Format = FLOAT32, rows: int = 5, classes: int = 4) -> Array:
    return fmt.cast(np.random.default_rng(0).uniform(-8, 8, (rows, classes)))


def assert_followed(function: Callable[..., Any], *arguments: Any, ulp: float = 64.0) -> None:
    """The values are those of an ordinary run bit for bit, and the shadow is near them."""
    with np.errstate(all="ignore"):
        ordinary = np.asarray(function(*(a.copy() if isinstance(a, np.ndarray) else a for a in arguments)))
    found = run_in_shadow(function, *arguments)
    assert found.not_followed == ()
    assert found.value.dtype == ordinary.dtype
    assert found.value.tobytes() == ordinary.tobytes()
    assert found.exact is not None
    assert found.exact.shape == ordinary.shape
    x = arguments[0]
    unit = {np.dtype("float64"): 2.0**-53}.get(x.dtype, 2.0**-24 if x.dtype == np.float32 else 2.0**-8)
    error = np.abs(cells.nearest(found.exact) - ordinary.astype(np.float64))
    assert (error <= ulp * unit * np.maximum(np.abs(ordinary.astype(np.float64)), 1e-3)).all()


# --- forms in which people write it ---------------------------------------------------------------


def in_place(x: Any) -> Any:
    x = np.asarray(x)
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= np.sum(x, axis=-1, keepdims=True)
    return x


def rows_into_an_array(x: Any) -> Any:
    out = np.zeros(x.shape, dtype=x.dtype)
    for i in range(len(x)):
        e = np.exp(x[i] - max(x[i]))
        out[i] = e / sum(e)
    return out


def rows_into_a_list(x: Any) -> Any:
    return np.array([np.log(np.exp(row).sum()) for row in x])


def cell_by_cell(x: Any) -> Any:
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(x.shape[1]):
            out[i, j] = np.exp(x[i, j])
            total += out[i, j]
        for j in range(x.shape[1]):
            out[i, j] /= total
    return out


def through_a_view(x: Any) -> Any:
    work = x.copy()
    left, right = work[:, :2], work[:, 2:]
    left *= 2.0
    right[...] = right + 1.0
    work.T[0] -= 1.0
    return work


def with_an_alias_of_zeros(x: Any) -> Any:
    out = made_of_zeros(x.shape)
    out[:] = np.exp(x)
    return out


def with_masks(x: Any) -> Any:
    y = np.where(x > 0, x, -x)
    y[y > 4] = 4.0
    np.log(y, out=y, where=y > 1)
    return np.clip(y, -2.0, 3.0)


def with_joins(x: Any) -> Any:
    y = np.vstack([row - row.max() for row in x])
    y = np.concatenate([y[:, :1], y[:, 1:]], axis=1)
    y = np.stack(list(y))
    return np.hstack([y, y])[:, ::2]


def with_methods_of_ufuncs(x: Any) -> Any:
    e = np.exp(x)
    np.add.at(e.T, [0, 0], 1.0)
    running = np.add.accumulate(e, axis=1)
    parts = np.add.reduceat(e, [0, 2], axis=1)
    return running[:, -1:] / parts + np.maximum.reduce(x, axis=1, keepdims=True) * np.ones(2, dtype=x.dtype)


def with_additions_to_fresh_zeros(x: Any) -> Any:
    counts = np.zeros(x.shape[1], dtype=x.dtype)
    np.add.at(counts, [0, 0, 2], x[0, :3])
    return counts


def with_products(x: Any) -> Any:
    w = np.linspace(0, 1, x.shape[1], dtype=x.dtype)
    return np.einsum("ij,ij->i", x, x) + x @ w + np.dot(x, w) + (x * np.outer(np.ones(len(x)), w)).sum(axis=1)


def with_statistics(x: Any) -> Any:
    z = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    return np.average(z, axis=1, weights=np.ones(x.shape[1])) + np.var(x, axis=1) + np.cumsum(x, axis=1)[:, -1]


def by_axis(x: Any) -> Any:
    return np.apply_along_axis(lambda row: row / np.abs(row).sum(), 1, x)


def with_a_helper(x: Any) -> Any:
    return np.log(in_place(x.copy()))


def with_python_floats(x: Any) -> Any:
    return np.array([float(row.sum()) for row in x])


def with_items(x: Any) -> Any:
    return np.array([row.max().item() for row in x]) - np.array([v[0] for v in x.tolist()])


def with_shapes(x: Any) -> Any:
    y = x.reshape(-1).reshape(x.shape[1], -1).T.swapaxes(0, 1)[np.newaxis].squeeze(0)
    return np.moveaxis(np.repeat(np.tile(y, (2, 1)), 2, axis=1), 0, 1).ravel()[:-1].astype(np.float64)


def with_picks(x: Any) -> Any:
    y = np.argmax(x, axis=1)
    return np.take_along_axis(x, y[:, None], axis=1)[:, 0] - x[np.arange(len(x)), y - 1] + np.eye(4)[y].sum()


def with_log_add_exp(x: Any) -> Any:
    return np.logaddexp.reduce(x, axis=1) - np.logaddexp(x[:, 0], x[:, 1]) + np.log1p(np.exp(-np.abs(x[:, 2])))


def with_random_numbers(x: Any) -> Any:
    noise = np.random.default_rng(0).normal(size=x.shape).astype(x.dtype)
    return x + noise


def with_a_running_maximum(x: Any) -> Any:
    out = []
    for row in x:
        m, s = -np.inf, 0.0
        for v in row:
            larger = max(m, v)
            s = s * np.exp(m - larger) + np.exp(v - larger)
            m = larger
        out.append(m + np.log(s))
    return np.array(out)


def with_outer_products(x: Any) -> Any:
    table = np.multiply.outer(x[0], x[1]) - np.subtract.outer(x[0], x[1])
    return np.add.reduce(table, axis=(0, 1), where=table > 0) + np.logaddexp.reduce(table, axis=None)


def with_a_class(x: Any) -> Any:
    class Layer:
        def __call__(self, x: Any) -> Any:
            self.e = np.exp(x - x.max(-1, keepdims=True))
            return self.e / self.e.sum(-1, keepdims=True)

    return np.log(Layer()(x) + 1)


def with_powers(x: Any) -> Any:
    return math.e**x + x**2 + np.power(2.0, x) + np.sqrt(np.abs(x)) ** 3


FORMS = [
    with_random_numbers, with_a_running_maximum, with_powers,
    in_place, rows_into_an_array, rows_into_a_list, cell_by_cell, through_a_view, with_an_alias_of_zeros, with_masks,
    with_joins, with_methods_of_ufuncs, with_products, with_statistics, by_axis, with_a_helper, with_python_floats,
    with_additions_to_fresh_zeros,
    with_items, with_shapes, with_picks, with_log_add_exp,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_code_is_followed_to_its_end(form: Callable[..., Any]) -> None:
    for fmt in (FLOAT32, FLOAT64):
        assert_followed(form, logits(fmt), ulp=4096.0)


@pytest.mark.parametrize("form", [in_place, rows_into_a_list, through_a_view, with_masks, with_joins])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_every_format_is_followed(form: Callable[..., Any], fmt: Format) -> None:
    assert_followed(form, logits(fmt), ulp=4096.0)


def test_labels_are_handed_on_and_pick_shadowed_cells() -> None:
    assert_followed(lambda x, y: -np.log(in_place(x)[np.arange(len(y)), y]).mean(), logits(), np.arange(5) % 4)


def test_a_library_function_in_python_is_followed_where_it_is_the_target() -> None:
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    assert_followed(special.softmax, logits(), ulp=4096.0)


# --- the law: values as in an ordinary run, the shadow as in exact arithmetic -------------------------

_UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "exp": (np.exp, lambda b: b.exp()),
    "negative": (lambda v: -v, lambda b: -b),
    "square": (lambda v: v**2, lambda b: b * b),
    "tanh": (np.tanh, lambda b: b.tanh()),
    "log1p": (lambda v: np.log1p(np.abs(v)), lambda b: abs(b).log1p()),
    "half": (lambda v: v / 2, lambda b: b / 2),
}
_BINARY: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "add": (lambda a, b: a + b, lambda a, b: a + b),
    "subtract": (np.subtract, lambda a, b: a - b),
    "multiply": (lambda a, b: a * b, lambda a, b: a * b),
    "maximum": (np.maximum, lambda a, b: a.max(b)),
    "over": (lambda a, b: a / (np.abs(b) + 1), lambda a, b: a / (abs(b) + 1)),
}
Tree = Any
TREES = st.recursive(
    st.integers(0, 3),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(_UNARY)), inner), st.tuples(st.sampled_from(sorted(_BINARY)), inner, inner)
    ),
    max_leaves=8,
)


def grown(tree: Tree, x: Any) -> Any:
    """Run a tree as NumPy code on the columns of x."""
    if isinstance(tree, int):
        return x[:, tree]
    name, *branches = tree
    values = [grown(b, x) for b in branches]
    return _UNARY[name][0](*values) if len(values) == 1 else _BINARY[name][0](*values)


def exactly(tree: Tree, row: list[Any]) -> Any:
    """Run a tree on balls, one row at a time."""
    if isinstance(tree, int):
        return row[tree]
    name, *branches = tree
    values = [exactly(b, row) for b in branches]
    return _UNARY[name][1](*values) if len(values) == 1 else _BINARY[name][1](*values)


@pytest.mark.slow
@given(
    tree=TREES,
    fmt=st.sampled_from(FORMATS),
    values=st.lists(st.floats(-3, 3, width=16), min_size=8, max_size=8),
)
def test_values_are_bit_for_bit_those_of_numpy_and_the_shadow_encloses_the_exact_ones(
    tree: Tree, fmt: Format, values: list[float]
) -> None:
    x = fmt.cast(np.array(values).reshape(2, 4))
    with np.errstate(all="ignore"):
        ordinary = np.asarray(grown(tree, x))
    found = run_in_shadow(lambda a: grown(tree, a), x)
    assert found.value.tobytes() == ordinary.tobytes()
    assert found.exact is not None
    assert found.not_followed == ()
    with flint.ctx.workprec(2000):
        for row, cell in zip(x.astype(np.float64).tolist(), found.exact.tolist(), strict=True):
            right = exactly(tree, [flint.arb(v) for v in row])
            assert isinstance(cell, cells.Special) != right.is_finite()
            assert isinstance(cell, cells.Special) or cell.overlaps(right)


@given(values=st.lists(st.floats(-700, 700), min_size=6, max_size=6), label=st.integers(0, 2))
def test_the_shadow_of_an_unstable_loss_is_the_exact_loss(values: list[float], label: int) -> None:
    from stablemax.operations.targets import LabelTargets
    from stablemax.truth.measure import exact_result

    x = np.array(values).reshape(2, 3)
    y = np.array([label, 2 - label])
    found = run_in_shadow(lambda a, b: np.log(np.exp(a).sum(axis=1)) - a[np.arange(2), b], x, y)
    assert found.exact is not None
    right = exact_result(CROSS_ENTROPY, x, LabelTargets(y), FLOAT64).truth
    for cell, near, residual in zip(
        found.exact.tolist(), right.nearest[:, 0].tolist(), right.residual_ulp[:, 0].tolist(), strict=True
    ):
        ulp = math.ulp(near)
        assert abs(float(cell - flint.arb(near)) - residual * ulp) <= 1e-6 * ulp


# --- what a run must leave as it was ----------------------------------------------------------------


def test_numpy_is_as_it_was_after_a_run_that_raises() -> None:
    before = {name: getattr(np, name) for name in ("array", "asarray", "zeros", "empty", "full")}

    def raises(x: Any) -> Any:
        out = np.zeros(3)
        raise KeyError(f"nothing at {out[0]}")

    with pytest.raises(StablemaxError, match=r"KeyError at test_numpy_run\.py"):
        run_in_shadow(raises, logits())
    assert {name: getattr(np, name) for name in before} == before
    assert made_of_zeros is np.zeros


def test_the_input_is_not_changed_by_code_that_works_in_place() -> None:
    x = logits()
    kept = x.copy()
    run_in_shadow(in_place, x)
    assert x.tobytes() == kept.tobytes()


def test_what_the_code_prints_and_warns_of_is_kept_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    def talks(x: Any) -> Any:
        import warnings

        print("hello")  # noqa: T201 - that is what is tested
        warnings.warn("careful", stacklevel=1)
        return x + 1

    run_in_shadow(talks, logits())
    assert capsys.readouterr() == ("", "")


def test_a_scalar_is_not_changed_through_a_name() -> None:
    def scalars(x: Any) -> Any:
        first = x[0, 0]
        same = first
        same += 1.0
        return x - first

    assert_followed(scalars, logits())


# --- what cannot be followed ------------------------------------------------------------------------


def by_math(x: Any) -> Any:
    return np.array([math.exp(v) for v in x[0]])


def by_spacing(x: Any) -> Any:
    return x - np.spacing(x)


def by_scalar_type(x: Any) -> Any:
    return x / np.float64(np.ndarray.sum(x))


def by_vectorize(x: Any) -> Any:
    return np.vectorize(math.exp)(x)


def by_mantissa(x: Any) -> Any:
    return np.frexp(x)[0]


def by_same_type(x: Any) -> Any:
    return x / x.dtype.type(x.sum())


def by_library(x: Any) -> Any:
    from scipy.linalg import svdvals

    return svdvals(x)


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (by_math, "math.exp(v)"),
        (by_spacing, "np.spacing(x)"),
        (by_vectorize, "np.vectorize(math.exp)(x)"),
        (by_mantissa, "np.frexp(x)"),
        (by_scalar_type, "np.float64(np.ndarray.sum(x))"),
        (by_same_type, "x.dtype.type(x.sum())"),
    ],
)
def test_what_cannot_be_followed_is_named_with_its_line_and_the_value_goes_on(
    code: Callable[..., Any], named: str
) -> None:
    x = logits(FLOAT32)
    found = run_in_shadow(code, x)
    line = code.__code__.co_firstlineno + 1
    assert found.not_followed == (f"{named} at test_numpy_run.py:{line}",)
    assert found.value.tobytes() == np.asarray(code(x)).tobytes()
    assert found.exact is None


def test_a_library_that_takes_the_array_apart_is_named() -> None:
    pytest.importorskip("scipy", reason="scipy is not installed")
    found = run_in_shadow(by_library, logits(FLOAT64))
    assert found.exact is None
    assert found.not_followed[0].startswith("svdvals(x) at test_numpy_run.py:")


def test_a_result_without_a_shadow_is_never_taken_for_an_exact_one() -> None:
    found = run_in_shadow(lambda x: np.float64(np.ndarray.view(x, np.ndarray).sum()), logits(FLOAT64))
    assert found.exact is None
    assert found.not_followed


@pytest.mark.parametrize("junk", [None, "text", {"a": 1}, np.array(["a"]), object()])
def test_what_is_no_array_of_real_numbers_is_refused(junk: Any) -> None:
    with pytest.raises(StablemaxError, match="not an array of real numbers"):
        run_in_shadow(lambda x: junk, logits())


# --- records ------------------------------------------------------------------------------------------


def test_the_runs_of_a_loop_are_told_once() -> None:
    found = run_decided(rows_into_a_list, (logits(),), Code())
    told = {(r.seen.name, r.seen.times) for r in found.records.values()}
    assert told == {("exp", 5), ("sum", 5), ("log", 5)}
    assert {r.seen.line for r in found.records.values()} == {rows_into_a_list.__code__.co_firstlineno + 1}


def test_an_operation_is_told_at_the_line_of_the_helper_that_runs_it() -> None:
    found = run_decided(with_a_helper, (logits(),), Code())
    lines = {r.seen.name: r.seen.line for r in found.records.values()}
    first = in_place.__code__.co_firstlineno
    assert lines["exp"] == first + 3
    assert lines["log"] == with_a_helper.__code__.co_firstlineno + 1
    assert {c.co_name for c in found.functions} == {"in_place", "with_a_helper"}


# --- lists, which NumPy asks about nobody -------------------------------------------------------------


def mean_of_a_list(x: Any) -> Any:
    return np.mean([np.log(np.exp(row).sum()) for row in x])


def log_of_a_list(x: Any) -> Any:
    return np.log([np.exp(row).sum() for row in x]) + np.max([row[0] for row in x])


def reduce_of_a_list(x: Any) -> Any:
    return np.array([np.logaddexp.reduce(list(row)) for row in x])


@pytest.mark.parametrize("form", [mean_of_a_list, log_of_a_list, reduce_of_a_list])
def test_lists_of_shadowed_numbers_are_followed(form: Callable[..., Any]) -> None:
    for fmt in (FLOAT32, FLOAT64):
        assert_followed(form, logits(fmt), ulp=4096.0)
