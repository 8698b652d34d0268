"""Any function of JAX under trace: through calls, loops, branches, batches and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="code of JAX is traced")
import jax.numpy as jnp  # noqa: E402

from stablemax.numerics.formats import FLOAT16, FLOAT32, Format  # noqa: E402
from stablemax.results import Outcome, Trace  # noqa: E402
from stablemax.text.errors import StablemaxError  # noqa: E402
from stablemax.trace.given_arguments import GivenArguments  # noqa: E402
from stablemax.trace.jax.jax_code import JaxCode  # noqa: E402
from stablemax.trace.own_truth import trace_any  # noqa: E402

Function = Callable[..., Any]


def traced(function: Function, arguments: dict[str, Any], fmt: Format = FLOAT32, *, backward: bool = False) -> Trace:
    """Trace a function of JAX on arrays of a format, or of integers."""
    arrays = [np.asarray(a) for a in arguments.values()]
    given = GivenArguments(tuple(arguments), tuple(a if a.dtype.kind in "biu" else fmt.cast(a) for a in arrays))
    code = JaxCode(given, fmt, function, function, None, backward)
    return trace_any(code, target=getattr(function, "__name__", "function"))


def blamed_text(trace: Trace) -> str:
    """Return the source of the line to blame; empty where there is none."""
    return next((line.text.strip() for line in trace.lines if line.blamed), "")


# --- programs with a fault ----------------------------------------------------------------------


def picked_by_index(x: Any) -> Any:
    p = jax.nn.softmax(x)
    return -jnp.log(p[jnp.arange(2), jnp.array([0, 1])])


def picked_along_an_axis(x: Any) -> Any:
    p = jax.nn.softmax(x, axis=-1)
    return -jnp.log(jnp.take_along_axis(p, jnp.array([[0], [1]]), axis=1)).mean()


def row_directions(x: Any) -> Any:
    return x / jnp.sqrt(jnp.square(x).sum(axis=1, keepdims=True))


def difference_of_exponentials(x: Any) -> Any:
    return jnp.log(jnp.exp(x) - jnp.exp(x - 1))


def naive_softplus(x: Any) -> Any:
    e = jnp.exp(x)
    return jnp.log(1 + e)


def log_of_sigmoid(x: Any) -> Any:
    p = jax.nn.sigmoid(x)
    return jnp.log(p)


def softmax_then_log(x: Any) -> Any:
    p = jax.nn.softmax(x)
    return jnp.log(p)


def unit_vector(x: Any) -> Any:
    squares = x * x
    return x / jnp.sqrt(squares.sum())


def variance_by_moments(x: Any) -> Any:
    mean = x.mean()
    return (x * x).mean() - mean * mean


def masked_root(x: Any) -> Any:
    root = jnp.sqrt(x)
    return jnp.where(x > 0, root, 0.0).sum()


def likelihood(p: Any) -> Any:
    def step(product: Any, factor: Any) -> Any:
        product = product * factor
        return product, product

    total, _ = jax.lax.scan(step, jnp.ones((), p.dtype), p)
    return jnp.log(total)


def newton_root(a: Any) -> Any:
    def turn(state: Any) -> Any:
        y, count = state
        quotient = a / y
        return 0.5 * (y + quotient), count + 1

    y, _ = jax.lax.while_loop(lambda state: state[1] < 8, turn, (a * a, 0))
    return y


@jax.custom_jvp  # type: ignore[untyped-decorator]
def softplus_by_hand(x: Any) -> Any:
    return jnp.logaddexp(x, 0.0)


@softplus_by_hand.defjvp  # type: ignore[untyped-decorator]
def softplus_slope(primals: Any, tangents: Any) -> Any:
    e = jnp.exp(primals[0])
    return softplus_by_hand(primals[0]), e / (1 + e) * tangents[0]


def slopes(x: Any) -> Any:
    return jax.vmap(jax.grad(softplus_by_hand))(x)


@jax.custom_vjp  # type: ignore[untyped-decorator]
def logarithm(x: Any) -> Any:
    return jnp.log(x)


def forward_of_logarithm(x: Any) -> Any:
    return jnp.log(x), x


def backward_of_logarithm(x: Any, g: Any) -> Any:
    return (g / (x * x) * x,)


logarithm.defvjp(forward_of_logarithm, backward_of_logarithm)


def slope_of_logarithm(x: Any) -> Any:
    return logarithm(x).sum()


def log_sum_exp_of_row(row: Any) -> Any:
    total = jnp.exp(row).sum()
    return jnp.log(total)


def log_sums(x: Any) -> Any:
    return jax.vmap(log_sum_exp_of_row)(x)


def attention(q: Any, k: Any, mask: Any) -> Any:
    scores = jnp.where(mask, q @ k.T, -jnp.inf)
    weights = jnp.exp(scores)
    return weights / weights.sum(axis=-1, keepdims=True) @ k


def divergence(logits: Any, p: Any) -> Any:
    q = jax.nn.softmax(logits)
    return (p * (jnp.log(p) - jnp.log(q))).sum()


def branched(x: Any) -> Any:
    def by_exp(v: Any) -> Any:
        return jnp.exp(v) / (1 + jnp.exp(v))

    return jax.lax.cond(x[0] > 0, by_exp, jax.nn.sigmoid, x)


def rematerialised(x: Any) -> Any:
    @jax.checkpoint  # type: ignore[untyped-decorator]
    def block(v: Any) -> Any:
        e = jnp.exp(v)
        return jnp.log(1 + e)

    return block(x).sum()


def compared(x: Any) -> Any:
    total = x.sum()
    return jnp.where(total == 0.3, 1.0, -1.0)


def compiled(function: Function) -> Function:
    return jax.jit(function)


TWO = {"x": [1.0, 200.0]}


@pytest.mark.parametrize(
    ("function", "arguments", "outcome", "line", "words"),
    [
        (unit_vector, {"x": [1e20, 1e20]}, Outcome.LOST, "squares = x * x", "multiply overflows"),
        (compiled(likelihood), {"p": [0.1] * 40}, Outcome.OVERFLOW, "return jnp.log(total)", "0 comes from multiply"),
        (newton_root, {"a": 1e-30}, Outcome.OVERFLOW, "quotient = a / y", "the 0 comes from multiply on line"),
        (
            *(attention, {"q": [[9.0, 9.0]], "k": [[9.0, 1.0], [2.0, 3.0]], "mask": [[True, False]]}, Outcome.NAN),
            *("weights = jnp.exp(scores)", "exp overflows for 1 of 2 cells"),
        ),
        (
            *(divergence, {"logits": [0.0, 200.0], "p": [0.5, 0.5]}, Outcome.OVERFLOW),
            *("return (p * (jnp.log(p) - jnp.log(q))).sum()", "log of 0 is infinite"),
        ),
        (branched, {"x": [100.0, 1.0]}, Outcome.NAN, "return jnp.exp(v) / (1 + jnp.exp(v))", "exp overflows"),
        (
            *(compared, {"x": [0.1, 0.2]}, Outcome.INACCURATE),
            *("return jnp.where(total == 0.3, 1.0, -1.0)", "total == 0.3 is true in float32 and false"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_a_fault_is_found_on_its_line_with_its_cause(
    function: Function, arguments: dict[str, Any], outcome: Outcome, line: str, words: str
) -> None:
    trace = traced(function, arguments)
    assert (trace.outcome, blamed_text(trace)) == (outcome, line)
    assert trace.blame is not None
    assert words in trace.blame.sentence


@pytest.mark.parametrize(
    ("function", "arguments", "outcome", "line", "words"),
    [
        (masked_root, {"x": [1.0, 0.0]}, Outcome.NAN, "root = jnp.sqrt(x)", "backward: divide 0.5 / 0"),
        (compiled(rematerialised), TWO, Outcome.NAN, "e = jnp.exp(v)", "exp overflows"),
        # A rule that somebody wrote is code like any other.
        (slope_of_logarithm, {"x": [1e-30]}, Outcome.OVERFLOW, "return (g / (x * x) * x,)", "backward: divide 1 / 0"),
        (
            compiled(slope_of_logarithm),
            {"x": [1e-30]},
            Outcome.OVERFLOW,
            "return (g / (x * x) * x,)",
            "backward: divide 1 / 0",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_a_fault_of_a_gradient_is_found_on_the_line_of_its_forward_code(
    function: Function, arguments: dict[str, Any], outcome: Outcome, line: str, words: str
) -> None:
    trace = traced(function, arguments, backward=True)
    assert (trace.outcome, blamed_text(trace)) == (outcome, line)
    assert trace.blame is not None
    assert words in trace.blame.sentence


# --- sound programs -----------------------------------------------------------------------------


def library_softplus(x: Any) -> Any:
    return jax.nn.softplus(x)


def safe_root(x: Any) -> Any:
    is_positive = x > 0
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, x, 1.0)), 0.0).sum()


def log_likelihood(p: Any) -> Any:
    def step(total: Any, factor: Any) -> Any:
        return total + jnp.log(factor), None

    return jax.lax.scan(step, jnp.zeros((), p.dtype), p)[0]


def logit_loss(x: Any, y: Any) -> Any:
    return (jnp.maximum(x, 0) - x * y + jnp.log1p(jnp.exp(-jnp.abs(x)))).mean()


def masked_attention(q: Any, k: Any, mask: Any) -> Any:
    return jax.nn.softmax(q @ k.T, axis=-1, where=mask) @ k


def halving(x: Any) -> Any:
    return jax.vmap(lambda a: jax.lax.while_loop(lambda s: s > 1.0, lambda s: s / 2, a))(x)


def norm(x: Any) -> Any:
    return jnp.linalg.norm(x / jnp.abs(x).max()) * jnp.abs(x).max()


@pytest.mark.parametrize(
    ("function", "arguments", "backward"),
    [
        (compiled(library_softplus), {"x": [1.0, 200.0, -3.0]}, False),
        (safe_root, {"x": [4.0, 0.0]}, True),
        (log_likelihood, {"p": [0.1] * 40}, False),
        # The second loss is below the smallest normal number, where XLA gives 0.
        (compiled(logit_loss), {"x": [100.0, -100.0], "y": [1.0, 0.0]}, False),
        (masked_attention, {"q": [[9.0, 9.0]], "k": [[9.0, 1.0], [2.0, 3.0]], "mask": [[True, False]]}, False),
        (halving, {"x": [5.0, 0.5, 100.0]}, False),
        (norm, {"x": [1e30, 1e30]}, False),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_sound_code_raises_no_alarm(function: Function, arguments: dict[str, Any], backward: bool) -> None:
    trace = traced(function, arguments, backward=backward)
    assert (trace.outcome, blamed_text(trace), trace.not_followed) == (Outcome.OK, "", ())
    assert "holds" in trace.finding


# --- what a trace says besides ------------------------------------------------------------------


def log_of_exp(x: Any) -> Any:
    e = jnp.exp(x)
    return jnp.log(e)


def test_compiled_code_that_the_compiler_mended_is_judged_as_compiled() -> None:
    # XLA writes x for log(exp(x)).
    mended = traced(jax.jit(log_of_exp), TWO)
    assert (mended.outcome, blamed_text(mended)) == (Outcome.OK, "")
    assert any("compiled, as it is called, the code holds" in note for note in mended.notes)
    assert blamed_text(traced(log_of_exp, TWO)) == "e = jnp.exp(x)"


def test_a_zero_below_the_smallest_normal_number_is_called_flushed() -> None:
    trace = traced(log_of_sigmoid, {"x": [-88.0]})
    assert trace.blame is not None
    assert "what is below 1.18e-38, the smallest normal number of float32, is made 0 here" in trace.blame.sentence


def shifted_bits(x: Any) -> Any:
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def cut(x: Any) -> Any:
    return (x * 10).astype(jnp.int32).astype(x.dtype)


def test_what_cannot_be_followed_is_named_with_its_line() -> None:
    trace = traced(shifted_bits, {"x": [1.0]})
    line = shifted_bits.__code__.co_firstlineno + 1
    assert trace.not_followed == (f"the bits of a number at test_any_jax_function.py:{line}",)
    # 7 in exact arithmetic, too.
    assert traced(cut, {"x": [0.75]}).not_followed == ()
    # 0.7 in float32 is below 0.7: exactly 6.99..., and 7 after rounding.
    assert "conversion to integers" in traced(cut, {"x": [0.7]}).not_followed[0]


def incomplete(x: Any) -> Any:
    return jax.lax.igamma_grad_a(x, x)


def test_what_has_no_exact_form_is_compared_with_float64() -> None:
    trace = traced(incomplete, {"x": [1.0, 3.0, 2.0]})
    assert trace.outcome is Outcome.OK
    assert "compared with float64, not with exact arithmetic: igamma_grad_a" in trace.notes


def picky(x: Any) -> Any:
    return x if x[0] > 0 else -x


def raising(x: Any) -> Any:
    return x @ jnp.ones(7)


def listing(x: Any) -> Any:
    return [x, "x"]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (compiled(picky), "needs a number in Python"),
        (raising, "raises TypeError at test_any_jax"),
        (listing, "returns list"),
    ],
)
def test_code_that_cannot_be_traced_is_refused(function: Function, words: str) -> None:
    with pytest.raises(StablemaxError, match=words):
        traced(function, {"x": [1.0]})


def long_loop(x: Any) -> Any:
    return jax.lax.fori_loop(0, 2300, lambda _, v: v * 1.05, x)


def test_a_long_loop_is_sampled() -> None:
    trace = traced(long_loop, {"x": [1.0]})
    assert "long loops are sampled" in trace.notes[0]
    assert "multiply overflows for 1 of 2,300 cells" in trace.finding


def test_a_half_is_traced_in_its_own_format() -> None:
    trace = traced(unit_vector, {"x": [300.0, 300.0]}, FLOAT16)
    assert (trace.format, blamed_text(trace)) == ("float16", "squares = x * x")


# --- cures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "outcome", "line", "words", "pattern", "instead"),
    [
        (
            *(compiled(naive_softplus), TWO, Outcome.OVERFLOW, "e = jnp.exp(x)", "(first: x[1] = 200.0)"),
            *("log-of-one-plus-exp", "return jax.nn.softplus(x)"),
        ),
        (
            *(log_of_sigmoid, {"x": [-200.0]}, Outcome.OVERFLOW, "return jnp.log(p)", "the 0 comes from sigmoid"),
            *("log-of-sigmoid", "return jax.nn.log_sigmoid(x)"),
        ),
        (
            *(compiled(softmax_then_log), TWO, Outcome.OVERFLOW, "return jnp.log(p)", "the 0 comes from exp on line"),
            *("log-of-softmax", "return jax.nn.log_softmax(x"),
        ),
        (
            *(variance_by_moments, {"x": [10000.1, 10000.2, 10000.3]}, Outcome.INACCURATE),
            *("return (x * x).mean() - mean * mean", "subtract cancels", "variance-by-moments", "return jnp.var(x"),
        ),
        (
            *(log_sums, {"x": [[100.0, 1.0]]}, Outcome.OVERFLOW, "total = jnp.exp(row).sum()", "x[0, 0] = 100.0"),
            *("log-of-sum-of-exp", "return jax.nn.logsumexp(row"),
        ),
        (
            *(picked_by_index, {"x": [[0.0, 200.0], [1.0, 2.0]]}, Outcome.OVERFLOW),
            *("return -jnp.log(p[jnp.arange(2), jnp.array([0, 1])])", "the 0 comes from exp", "log-of-softmax"),
            "return -jax.nn.log_softmax(x, axis=-1)[jnp.arange(2), jnp.array([0, 1])]",
        ),
        (
            *(picked_along_an_axis, {"x": [[0.0, 200.0], [1.0, 2.0]]}, Outcome.OVERFLOW),
            *("return -jnp.log(jnp.take_along_axis(p, jnp.array([[0], [1]]), axis=1)).mean()", "the 0 comes from exp"),
            *("log-of-softmax", "jnp.take_along_axis(jax.nn.log_softmax(x, axis=-1), jnp.array([[0], [1]]), axis=1)"),
        ),
        (
            *(row_directions, {"x": [[3e20, 4e20], [1.0, 2.0]]}, Outcome.LOST),
            *("return x / jnp.sqrt(jnp.square(x).sum(axis=1, keepdims=True))", "square overflows", "norm-by-squares"),
            "axis=-1, keepdims=True)",
        ),
        (
            *(difference_of_exponentials, {"x": [200.0]}, Outcome.NAN),
            *("return jnp.log(jnp.exp(x) - jnp.exp(x - 1))", "exp overflows", "log-of-difference-of-exp"),
            "jnp.expm1(",
        ),
        (
            *(slopes, TWO, Outcome.NAN, "e = jnp.exp(primals[0])", "exp overflows"),
            *("sigmoid-by-exp", "jax.nn.sigmoid(primals[0])"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_what_is_told_to_write_instead_was_run_and_the_code_is_its_own_again(
    function: Function, arguments: dict[str, Any], outcome: Outcome, line: str, words: str, pattern: str, instead: str
) -> None:
    array = jnp.asarray(arguments["x"], jnp.float32)
    before = np.asarray(function(array))
    trace = traced(function, arguments)
    assert (trace.outcome, blamed_text(trace), trace.pattern) == (outcome, line, pattern)
    assert trace.blame is not None
    assert words in trace.blame.sentence
    assert instead in trace.instead
    assert "Run on this input in float32, it holds" in trace.instead_why
    # JAX keeps nothing of the other code.
    np.testing.assert_array_equal(np.asarray(function(array)), before)


def test_a_number_that_jax_rounds_to_0_is_written_as_the_source_has_it() -> None:
    def share(x: Any) -> Any:
        return x / (jnp.abs(x).sum() + 1e-8)

    trace = traced(share, {"x": [0.0, 0.0]}, FLOAT16)
    assert (trace.outcome, trace.pattern) == (Outcome.UNDEFINED, "inverse-with-vanished-eps")
    assert "max(1e-08, float(jnp.finfo(" in trace.instead
    assert "This is not the same function" in trace.instead_why
