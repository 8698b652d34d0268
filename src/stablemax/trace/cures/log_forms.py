"""What the logarithm of each operation's output is, written without the output: a product's is a sum."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.trace.cures.matching import X, Y, exp, formula_of, log, op

if TYPE_CHECKING:
    from stablemax.trace.cures.matching import Apply


class Steepness(enum.Enum):
    """Whether an operation leaves the range of a format where its logarithm does not."""

    #: By itself.
    STEEP = "steep"
    #: Where its operands do.
    AS_PARTS = "as its parts"
    #: It is taken apart only where its operands do: of other terms the logarithm of a sum is no better in parts.
    OF_STEEP_PARTS = "of steep parts alone"


@dataclass(frozen=True)
class LogForm:
    """The logarithm of an operation's output, of its operands or of their logarithms.

    In its code `{x}` and `{y}` are operands, `{log_x}` and `{log_y}` their logarithms, and `{log_abs_x}` that of an
    operand without its sign; words of axes are those of a `Pattern`. Of several expressions the first that cures is
    told.
    """

    #: The operation with its operands x and y.
    tree: Apply
    numpy: tuple[str, ...] = ()
    torch: tuple[str, ...] = ()
    jax: tuple[str, ...] = ()
    steepness: Steepness = Steepness.AS_PARTS

    @property
    def formula(self) -> str:
        """The logarithm as code."""
        return formula_of(log(self.tree))

    def code(self, backend: str) -> tuple[str, ...]:
        """Return the expressions for a library, by its name."""
        return {"numpy": self.numpy, "torch": self.torch, "jax": self.jax}[backend]

    @property
    def reads_whole(self) -> bool:
        """True where some of its code reads an operand whose logarithm others read."""
        return any(f"{{{letter}}}" in code for read, letter in zip(self.reads, "xy", strict=False)
                   if read != letter for code in (*self.numpy, *self.torch, *self.jax))  # fmt: skip

    @property
    def reads(self) -> tuple[str, ...]:
        """What its first code reads of each operand: ``x``, ``log_x`` or ``log_abs_x``."""
        code = (*self.numpy, *self.torch, *self.jax)[0]
        wanted = re.findall(r"\{((?:log_)?(?:abs_)?[xy])\}", code)
        return tuple(next(w for w in wanted if w[-1] == letter) for letter in "xy"[: len(self.tree.parts)])


def _alike(tree: Apply, code: str, steepness: Steepness = Steepness.AS_PARTS) -> LogForm:
    """Return a form whose code is the same in all libraries."""
    return LogForm(tree, (code,), (code,), (code,), steepness)


_STEEP, _OF_STEEP = Steepness.STEEP, Steepness.OF_STEEP_PARTS

LOG_FORMS = (
    _alike(exp(X), "{x}", _STEEP),
    LogForm(
        op("sigmoid")(X),
        numpy=("-np.logaddexp(0, -{x})",),
        torch=("F.logsigmoid({x})",),
        jax=("jax.nn.log_sigmoid({x})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("minus_sigmoid")(X),
        numpy=("-np.logaddexp(0, {x})",),
        torch=("F.logsigmoid(-{x})",),
        jax=("jax.nn.log_sigmoid(-{x})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("softmax")(X),
        numpy=("{x} - np.logaddexp.reduce({x}, {axis}, keepdims=True)",),
        torch=("torch.log_softmax({x}, {dim})",),
        jax=("jax.nn.log_softmax({x}, {axis})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("one_minus_exp")(X),
        numpy=("np.where({x} > -0.69, np.log(-np.expm1({x})), np.log1p(-np.exp({x})))",),
        torch=(
            "torch.where({x} > -0.69, torch.log(-torch.expm1({x})), torch.log1p(-torch.exp({x}.clamp(max=-0.69))))",
        ),
        jax=("jnp.where({x} > -0.69, jnp.log(-jnp.expm1({x})), jnp.log1p(-jnp.exp(jnp.minimum({x}, -0.69))))",),
        steepness=_STEEP,
    ),
    LogForm(
        op("expm1")(X),
        numpy=("{x} + np.log(-np.expm1(-{x}))",),
        torch=("{x} + torch.log(-torch.expm1(-{x}))",),
        jax=("{x} + jnp.log(-jnp.expm1(-{x}))",),
        steepness=_STEEP,
    ),
    LogForm(
        op("cosh")(X),
        numpy=("np.logaddexp({x}, -{x}) - math.log(2)",),
        torch=("torch.logaddexp({x}, -{x}) - math.log(2)",),
        jax=("jnp.logaddexp({x}, -{x}) - math.log(2)",),
        steepness=_STEEP,
    ),
    LogForm(
        op("sinh")(X),
        numpy=("{x} + np.log(-np.expm1(-2 * {x})) - math.log(2)",),
        torch=("{x} + torch.log(-torch.expm1(-2 * {x})) - math.log(2)",),
        jax=("{x} + jnp.log(-jnp.expm1(-2 * {x})) - math.log(2)",),
        steepness=_STEEP,
    ),
    LogForm(
        op("gamma")(X),
        numpy=("special.gammaln({x})",),
        torch=("torch.lgamma({x})",),
        jax=("jax.scipy.special.gammaln({x})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("factorial")(X),
        numpy=("special.gammaln({x} + 1)",),
        torch=("torch.lgamma({x} + 1)",),
        jax=("jax.scipy.special.gammaln({x} + 1)",),
        steepness=_STEEP,
    ),
    LogForm(
        op("binom")(X, Y),
        numpy=("special.gammaln({x} + 1) - special.gammaln({y} + 1) - special.gammaln({x} - {y} + 1)",),
        torch=("torch.lgamma({x} + 1) - torch.lgamma({y} + 1) - torch.lgamma({x} - {y} + 1)",),
        jax=(
            "jax.scipy.special.gammaln({x} + 1) - jax.scipy.special.gammaln({y} + 1)"
            " - jax.scipy.special.gammaln({x} - {y} + 1)",
        ),
        steepness=_STEEP,
    ),
    LogForm(
        op("beta")(X, Y),
        numpy=("special.betaln({x}, {y})",),
        torch=("torch.lgamma({x}) + torch.lgamma({y}) - torch.lgamma({x} + {y})",),
        jax=("jax.scipy.special.betaln({x}, {y})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("ndtr")(X),
        numpy=("special.log_ndtr({x})",),
        torch=("torch.special.log_ndtr({x})",),
        jax=("jax.scipy.special.log_ndtr({x})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("erfc")(X),
        numpy=("special.log_ndtr(-{x} * math.sqrt(2)) + math.log(2)",),
        torch=("torch.special.log_ndtr(-{x} * math.sqrt(2)) + math.log(2)",),
        jax=("jax.scipy.special.log_ndtr(-{x} * math.sqrt(2)) + math.log(2)",),
        steepness=_STEEP,
    ),
    LogForm(
        op("i0")(X),
        numpy=("np.log(special.i0e({x})) + np.abs({x})",),
        torch=("torch.log(torch.special.i0e({x})) + torch.abs({x})",),
        jax=("jnp.log(jax.scipy.special.i0e({x})) + jnp.abs({x})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("prod")(X),
        numpy=("{log_x}.sum({axis}{keep})",),
        torch=("{log_x}.sum({dim}{keep})",),
        jax=("{log_x}.sum({axis}{keep})",),
        steepness=_STEEP,
    ),
    LogForm(
        op("cumprod")(X),
        numpy=("{log_x}.cumsum({axis})",),
        torch=("{log_x}.cumsum({dim})",),
        jax=("{log_x}.cumsum({axis})",),
        steepness=_STEEP,
    ),
    _alike(op("square")(X), "2 * {log_abs_x}"),
    _alike(op("sqrt")(X), "{log_x} / 2"),
    _alike(op("rsqrt")(X), "-{log_x} / 2"),
    _alike(op("reciprocal")(X), "-{log_x}"),
    LogForm(
        op("power")(X, Y),
        # The second is 0 for 0 ** 0, which is 1.
        numpy=("{y} * {log_x}", "special.xlogy({y}, {x})"),
        torch=("{y} * {log_x}", "torch.xlogy({y}, {x})"),
        jax=("{y} * {log_x}", "jax.scipy.special.xlogy({y}, {x})"),
        steepness=_STEEP,
    ),
    _alike(op("multiply")(X, Y), "{log_x} + {log_y}"),
    _alike(op("divide")(X, Y), "{log_x} - {log_y}"),
    LogForm(
        op("sum")(X),
        numpy=("np.logaddexp.reduce({log_x}, {axis}{keep})",),
        torch=("torch.logsumexp({log_x}, {dim}{keep})",),
        jax=("jax.nn.logsumexp({log_x}, {axis}{keep})",),
        steepness=_OF_STEEP,
    ),
    LogForm(
        op("mean")(X),
        numpy=("np.logaddexp.reduce({log_x}, {axis}{keep}) - math.log({count})",),
        torch=("torch.logsumexp({log_x}, {dim}{keep}) - math.log({count})",),
        jax=("jax.nn.logsumexp({log_x}, {axis}{keep}) - math.log({count})",),
        steepness=_OF_STEEP,
    ),
    LogForm(
        op("weighted_sum")(X, Y),
        numpy=("np.logaddexp.reduce({log_x} + {log_y}, {axis}{keep})",),
        torch=("torch.logsumexp({log_x} + {log_y}, {dim}{keep})",),
        jax=("jax.nn.logsumexp({log_x} + {log_y}, {axis}{keep})",),
        steepness=_OF_STEEP,
    ),
    LogForm(
        op("add")(X, Y),
        numpy=("np.logaddexp({log_x}, {log_y})",),
        torch=("torch.logaddexp({log_x}, {log_y})", "{log_x} - F.logsigmoid({log_x} - {log_y})"),
        jax=("jnp.logaddexp({log_x}, {log_y})",),
        steepness=_OF_STEEP,
    ),
    LogForm(
        op("subtract")(X, Y),
        numpy=("{log_x} + np.log(-np.expm1({log_y} - {log_x}))",),
        torch=("{log_x} + torch.log(-torch.expm1({log_y} - {log_x}))",),
        jax=("{log_x} + jnp.log(-jnp.expm1({log_y} - {log_x}))",),
        steepness=_OF_STEEP,
    ),
    LogForm(
        op("one_plus")(X),
        numpy=("np.log1p({x})",),
        torch=("torch.log1p({x})",),
        jax=("jnp.log1p({x})",),
    ),
    LogForm(
        op("one_minus")(X),
        numpy=("np.log1p(-{x})",),
        torch=("torch.log1p(-{x})",),
        jax=("jnp.log1p(-{x})",),
    ),
)
"""The special before the general."""
