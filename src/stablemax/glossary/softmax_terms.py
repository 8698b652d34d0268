"""Terms of softmax and of the losses that are made of it."""

from __future__ import annotations

from dataclasses import replace

from stablemax.glossary.live_figures import Expression, across, number, of_variants, written
from stablemax.glossary.term import Term
from stablemax.hazards.cases import rows as hazard_rows
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT64
from stablemax.operations.variant import get
from stablemax.results.explained import Figure, FigureRow
from stablemax.truth.case import Shared, case_of, setting_of

_LOGITS = (2.0, 1.0, 0.0)
_GIB = 2.0**30


def _exact_row(variant_id: str, logits: tuple[float, ...], *, label: int = 0, smoothing: float = 0.0) -> list[float]:
    """Prove what an operation gives on a row of logits, as float64 has them."""
    case = replace(hazard_rows([logits], [label]), label_smoothing=smoothing)
    setting = setting_of(case_of(case, get(variant_id).operation), Shared(FLOAT64))
    return [float(v) for v in setting.exact.truth.nearest[0]]


def _classes(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


def _softmax_figure(title: str, rows: dict[str, tuple[float, ...]]) -> Figure:
    """Show the exact softmax of some rows of logits."""
    shown = (
        FigureRow(label, tuple(number(p) for p in _exact_row("softmax/compensated", logits)))
        for label, logits in rows.items()
    )
    return Figure(title, _classes(len(_LOGITS)), tuple(shown))


def _logits() -> tuple[Figure, ...]:
    rows = {", ".join(map(written, x)): x for x in (_LOGITS, tuple(v + 5 for v in _LOGITS), (4.0, 2.0, 0.0))}
    return (_softmax_figure("Logits, and the probabilities that softmax makes of them", rows),)


def _shift() -> tuple[Figure, ...]:
    return (of_variants("Without the shift and with it", "large-logits", ("softmax/naive", "softmax/shifted")),)


def _logsumexp_trick() -> tuple[Figure, ...]:
    ids = ("logsumexp/naive", "logsumexp/shifted", "logsumexp/compensated")
    return (
        of_variants("Far above 0", "large-logits", ids),
        of_variants("Far below 0", "far-below-zero", ids),
        of_variants("Where the rest is tiny", "nearly-certain", ids),
    )


def _online_softmax() -> tuple[Figure, ...]:
    ids = ("softmax/shifted", "softmax/online", "softmax/tiled")
    return (of_variants("Large logits", "large-logits", ids), of_variants("A mask comes first", "leading-mask", ids))


def _temperature() -> tuple[Figure, ...]:
    rows = {f"T = {t:g}": tuple(x / t for x in _LOGITS) for t in (0.25, 1.0, 4.0, 100.0)}
    # Powers of 2, which every format has.
    divided = Expression("{} / T, T = 1/{}", lambda _, x, n: x * n)
    return (
        _softmax_figure(f"Softmax of {', '.join(map(written, _LOGITS))} divided by T", rows),
        across("A small T makes large logits", (divided.at(11.0, 2.0**n) for n in (3, 10, 13)), (FLOAT16, BFLOAT16)),
    )


def _masking() -> tuple[Figure, ...]:
    ids = ("softmax/naive", "softmax/shifted")
    return (
        of_variants("One class masked", "masked-class", ids),
        of_variants("Every class masked", "row-all-neg-inf", ids),
        of_variants("A mask that is not low enough", "sentinel-above-logit", ids),
    )


def _collapse() -> tuple[Figure, ...]:
    ids = ("cross_entropy/naive", "cross_entropy/shifted", "cross_entropy/compensated")
    gradients = ("cross_entropy_grad/shifted", "cross_entropy_grad/compensated")
    return (of_variants("The loss", "collapse", ids), of_variants("Its gradient", "collapse", gradients))


def _gradient() -> tuple[Figure, ...]:
    ids = ("cross_entropy_grad/naive", "cross_entropy_grad/shifted", "cross_entropy_grad/compensated")
    return (
        of_variants("Label 0", "label-ahead-by-20", ids),
        of_variants("Label 0", "large-logits", ids),
    )


def _jacobian() -> tuple[Figure, ...]:
    sizes = (10, 1_000, 32_000)
    rows = (FigureRow(f"{k:,} classes", (number(k * k), number(float(f"{4 * k * k / _GIB:.3g}")))) for k in sizes)
    ids = ("softmax_vjp/jacobian", "softmax_vjp/closed-form", "softmax_vjp/centred")
    return (
        Figure("The Jacobian of one row", ("numbers in it", "GiB in float32"), tuple(rows)),
        of_variants("The same product without it", "constant-upstream", ids),
    )


def _label_smoothing() -> tuple[Figure, ...]:
    rows = [
        FigureRow(
            f"smoothing {s:g}",
            tuple(
                number(_exact_row("cross_entropy/compensated", x, smoothing=s)[0])
                for x in (_LOGITS, tuple(10 * v for v in _LOGITS))
            ),
        )
        for s in (0.0, 0.125, 0.25)
    ]
    logits = ", ".join(map(written, _LOGITS))
    columns = (f"logits {logits}", "ten times as large")
    return (Figure("The loss of label 0", columns, tuple(rows)),)


TERMS = (
    Term(
        "logit",
        "A logit is the score that a model gives a class, before softmax turns the scores into probabilities.",
        (
            "It may be any number. Only differences count: a number added to all logits of a row changes nothing.",
            "Multiplied by more than 1, they make the largest probability larger.",
        ),
        _logits,
        aliases=("logits", "score", "scores"),
        see=("explain softmax", "explain shift", "explain temperature"),
    ),
    Term(
        "shift",
        "The shift subtracts the largest logit of a row from all of them, before any exponential is taken.",
        (
            "In exact arithmetic nothing changes, because softmax depends on differences of logits only.",
            "In floats every exponent is then at most 0, so that nothing overflows, and one is exactly 0, so that the "
            "sum is at least 1 and nothing is divided by 0.",
            "The subtraction rounds, which costs a tiny probability some digits; a compensated formula keeps them.",
        ),
        _shift,
        aliases=("max-subtraction", "max-trick", "stable-softmax"),
        see=("explain shifted", "explain overflow", "explain softmax/shifted", "compare --hazard large-logits"),
        cites=("blanchard-2021", "goodfellow-2016"),
    ),
    Term(
        "logsumexp-trick",
        "The log-sum-exp trick computes log(sum(exp(x))) as m + log(sum(exp(x - m))), m being the largest logit.",
        (
            "Nothing overflows, and the sum is at least 1, so that its logarithm is never that of 0.",
            "One trap is left: where the other exponentials are tiny, 1 plus their sum is rounded to 1. log1p of their "
            "sum keeps it.",
        ),
        _logsumexp_trick,
        aliases=("log-sum-exp-trick", "log-sum-exp", "lse-trick", "lse"),
        see=("explain logsumexp", "explain shift", "compare --hazard nearly-certain --operation logsumexp"),
        cites=("blanchard-2021",),
    ),
    Term(
        "online-softmax",
        "Online softmax finds the maximum and the sum of a row in one pass, rescaling the sum whenever the maximum "
        "grows.",
        (
            "Tiled softmax does so for tiles of classes and merges them; this is how attention runs on a GPU without "
            "ever storing a whole row.",
            "Its own trap is a row that begins with a mask: the maximum so far is minus infinity, and minus infinity "
            "minus itself is NaN.",
        ),
        _online_softmax,
        aliases=("flash-attention", "tiled-softmax", "streaming-softmax"),
        see=("explain online", "explain tiled", "compare --hazard leading-mask", "explain masking"),
        cites=("milakov-2018", "dao-2022", "flash-attention-1930"),
    ),
    Term(
        "temperature",
        "The temperature T divides all logits before the softmax: a small T sharpens the probabilities, a large one "
        "flattens them.",
        (
            "Dividing by a small T makes large logits, which is how sampling code overflows.",
            "T = 0 stands for the most probable class, and has to be a case of its own: nothing can be divided by 0.",
        ),
        _temperature,
        aliases=("softmax-temperature",),
        see=("explain tiny-temperature", "explain overflow", "sweep --over temperature"),
    ),
    Term(
        "masking",
        "Masking takes a class out of a row by setting its logit to minus infinity, so that its probability is 0.",
        (
            "Beside a finite logit this is exact: exp of minus infinity is 0.",
            "A row with nothing else has no softmax, and NaN is what formulas give there.",
            "A large negative number in place of minus infinity is no mask where another logit is lower still.",
        ),
        _masking,
        aliases=("mask", "masked", "attention-mask", "padding"),
        see=("explain infinity", "explain row-all-neg-inf", "compare --hazard masked-class"),
        cites=("flash-attention-1930",),
    ),
    Term(
        "softmax-collapse",
        "Softmax collapse: the label's exponential absorbs all others, the loss becomes exactly 0, and learning stops.",
        (
            "The exact loss is small and not 0, and so is its gradient; rounded to 0 it moves no weight any more.",
            "A formula that adds the other exponentials by themselves and takes log1p keeps both.",
            "StableMax, a replacement for softmax proposed against this, is something else than this program.",
        ),
        _collapse,
        aliases=("collapse", "grokking", "vanishing-loss"),
        see=("explain absorption", "explain gradient", "compare --hazard collapse"),
        cites=("prieto-2025",),
    ),
    Term(
        "gradient",
        "The gradient of the cross-entropy with respect to the logits is p - onehot: the probabilities, minus 1 at the "
        "label.",
        (
            "So it needs no logarithm and no Jacobian, and code that works through either loses digits on the way.",
            "Where the label is nearly certain, p - 1 cancels. Minus the sum of the other probabilities is the same "
            "number, and keeps its digits.",
            "For the mean over N rows each is divided by N.",
        ),
        _gradient,
        aliases=("one-hot", "onehot", "p-minus-onehot", "backward", "gradients"),
        see=("explain cross_entropy_grad", "explain cancellation", "compare --hazard label-ahead-by-20",
             "check cross_entropy_grad/shifted"),
        cites=("goodfellow-2016",),
    ),
    Term(
        "jacobian",
        "The Jacobian of a softmax holds the derivative of each probability by each logit: K times K numbers for K "
        "classes.",
        (
            "It is diag(p) - p p^T, and nobody has to build it: its product with an upstream gradient g, the "
            "vector-Jacobian product, is p (g - sum(p g)).",
            "Where g is nearly constant, g - sum(p g) cancels; taking one g from all of them first keeps the digits.",
        ),
        _jacobian,
        aliases=("vjp", "vector-jacobian-product", "upstream-gradient"),
        see=("explain softmax_vjp", "explain gradient", "compare --hazard constant-upstream --operation softmax_vjp"),
    ),
    Term(
        "label-smoothing",
        "Label smoothing takes a small share of the target from the label and spreads it evenly over all classes.",
        (
            "The loss of a row then never falls to 0, and very large logits cost something: softmax cannot collapse.",
            "A masked class gets a share, too, and has probability 0: the loss of such a row is infinite.",
        ),
        _label_smoothing,
        aliases=("smoothing", "soft-labels", "soft-targets"),
        see=("explain softmax-collapse", "explain smoothed-at-neg-inf", "explain cross_entropy"),
    ),
)  # fmt: skip
