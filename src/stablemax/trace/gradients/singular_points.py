"""Operators at points where their derivative is infinite or has no value, each with what may be written there."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class SingularPoint:
    """An operator at such a point.

    Its code is written with ``{x}`` and ``{y}``, the first two operands; ``{op}``, the operator as it stands with
    `safe` in place of the operand that is to blame where `regular` does not hold; ``{call}``, as it stands;
    ``{detached}``, the operator on that operand detached; ``{inner}``, what made the operand was given; ``{dim}``, its
    axis; ``{of_regular}``, the operator on a norm of what is 1 where all is 0; ``{of_regular_rows}``, where a row is.
    ``{where}``, ``{size}`` and the like are words of the library.
    """

    id: str
    #: PyTorch's nodes, without ``Backward0``, and the names of operators and functions that it is known by.
    nodes: tuple[str, ...]
    says: str
    #: Where the operator has a finite derivative.
    regular: str
    #: A number at which it has one.
    safe: str = "1.0"
    #: Which operand is to blame, from 0.
    operand: int = 0
    #: The operand must be a call of one of these functions.
    operand_calls: tuple[str, ...] = ()
    #: What may be written instead, each run in turn until one of them gives what is right.
    cures: tuple[str, ...] = ()


POINTS = (
    SingularPoint(
        "log-of-sigmoid",
        ("Log", "log"),
        "sigmoid underflows to 0, and the derivative of log at 0 is infinite",
        regular="{x} != 0",
        operand_calls=("sigmoid",),
        cures=("{log_sigmoid}({inner})",),
    ),
    SingularPoint(
        "log-of-softmax",
        ("Log", "log"),
        "softmax underflows to 0, and the derivative of log at 0 is infinite",
        regular="{x} != 0",
        operand_calls=("softmax",),
        cures=("{log_softmax}({inner})",),
    ),
    SingularPoint(
        "norm-at-zero",
        ("Sqrt", "sqrt"),
        "the root of a sum of squares is a norm, whose derivative at 0 does not exist",
        regular="{x} != 0",
        operand_calls=("sum",),
        cures=("{where}({regular}, {op}, 0.0)",),
    ),
    SingularPoint(
        "norm-at-zero",
        ("norm",),
        "a norm has no derivative at 0",
        regular="({x} != 0).any()",
        cures=("{where}({regular}, {op}, 0.0)",),
    ),
    SingularPoint(
        "norm-at-zero",
        ("norm",),
        "a norm has no derivative at 0",
        regular="({x} != 0).any({dim}, {keepdim}=True)",
        cures=("{where}(({x} != 0).any({dim}), {op}, 0.0)", "{where}({regular}, {op}, 0.0)"),
    ),
    SingularPoint(
        "sqrt-at-zero",
        ("Sqrt", "sqrt"),
        "the derivative of sqrt at 0 is infinite",
        regular="{x} != 0",
        cures=("{where}({regular}, {op}, 0.0)",),
    ),
    SingularPoint(
        "power-at-zero",
        ("Pow", "pow", "power"),
        "the derivative of a power below 1 is infinite at 0",
        regular="{x} != 0",
        cures=("{where}({regular}, {op}, 0.0)", "{op}"),
    ),
    SingularPoint(
        "hypot-at-zero",
        ("Hypot", "hypot"),
        "hypot has no derivative at (0, 0): autograd divides 0 by 0",
        regular="({x} != 0) | ({y} != 0)",
        cures=("{where}({regular}, {op}, 0.0)",),
    ),
    SingularPoint(
        "log-at-zero",
        ("Log", "Log2", "Log10", "log", "log2", "log10"),
        "the derivative of log at 0 is infinite",
        regular="{x} != 0",
        cures=("{op}",),
    ),
    SingularPoint(
        "log1p-at-minus-one",
        ("Log1P", "log1p"),
        "the derivative of log1p at -1 is infinite",
        regular="{x} != -1",
        safe="0.0",
        cures=("{op}",),
    ),
    SingularPoint(
        "xlogy-at-zero",
        ("Xlogy", "xlogy"),
        "the derivative of x * log(y) by y is x / y, which is 0 / 0 at 0",
        regular="{x} != 0",
        operand=1,
        cures=("{op}",),
    ),
    SingularPoint(
        "division-by-a-norm-of-zero",
        ("Div", "div", "divide"),
        "the vector is 0, and so is its norm: 0 / 0",
        regular="{y} != 0",
        operand=1,
        operand_calls=("norm", "vector_norm", "sqrt"),
        cures=("{op}", "{of_regular}", "{of_regular_rows}"),
    ),
    SingularPoint(
        "division-by-zero",
        ("Div", "div", "divide", "Reciprocal", "reciprocal"),
        "a quotient has no finite derivative where it divides by 0",
        regular="{y} != 0",
        operand=1,
        cures=("{op}",),
    ),
    SingularPoint(
        "reciprocal-of-zero",
        ("Reciprocal", "Rsqrt", "reciprocal", "rsqrt"),
        "a reciprocal has no finite derivative at 0",
        regular="{x} != 0",
        cures=("{op}",),
    ),
    SingularPoint(
        "arc-at-one",
        ("Acos", "Asin", "acos", "asin", "arccos", "arcsin"),
        "the derivatives of acos and asin are infinite at -1 and 1",
        regular="{size} < 1",
        safe="0.0",
        cures=("{where}({regular}, {op}, {detached})",),
    ),
    SingularPoint(
        "atanh-at-one",
        ("Atanh", "atanh", "arctanh"),
        "the derivative of atanh is infinite at -1 and 1",
        regular="{size} < 1",
        safe="0.0",
        cures=("{op}",),
    ),
    SingularPoint(
        "acosh-at-one",
        ("Acosh", "acosh", "arccosh"),
        "the derivative of acosh at 1 is infinite",
        regular="{x} > 1",
        safe="2.0",
        cures=("{where}({regular}, {op}, {detached})",),
    ),
    SingularPoint(
        "erfinv-at-one",
        ("Erfinv", "erfinv"),
        "the derivative of erfinv is infinite at -1 and 1",
        regular="{size} < 1",
        safe="0.0",
        cures=("{op}",),
    ),
    SingularPoint(
        "logit-at-an-end",
        ("Logit", "logit"),
        "the derivative of logit is infinite at 0 and 1",
        regular="({x} > 0) & ({x} < 1)",
        safe="0.5",
        cures=("{op}",),
    ),
    SingularPoint(
        "gamma-at-zero",
        ("Lgamma", "lgamma", "Digamma", "digamma"),
        "the gamma function has a pole at 0",
        regular="{x} > 0",
        cures=("{op}",),
    ),
    SingularPoint(
        "exp-overflows",
        ("Exp", "exp", "Expm1", "expm1", "Cosh", "cosh", "Sinh", "sinh"),
        "the exponential overflows, and its derivative is the same infinity",
        regular="{x} < 80",
        safe="0.0",
    ),
    SingularPoint(
        "softmax-of-nothing",
        ("Softmax", "_softmax"),
        "a row of nothing but -inf has no softmax: 0 / 0",
        regular="({x} > -{inf}).any({dim}, {keepdim}=True)",
        safe="0.0",
        cures=("{where}({regular}, {op}, 0.0)",),
    ),
    SingularPoint(
        "softmax-of-nothing",
        ("LogSoftmax", "_log_softmax"),
        "a row of nothing but -inf has no softmax: 0 / 0",
        regular="({x} > -{inf}).any({dim}, {keepdim}=True)",
        safe="0.0",
        cures=("{where}({regular}, {op}, -{inf})",),
    ),
    SingularPoint(
        "deviation-of-one-number",
        ("Std", "Var", "std", "var"),
        "one number has no deviation of a sample: 0 / 0",
        regular="{x}.numel() > 1",
        cures=(
            "({call} if {x}.numel() > 1 else {x}.sum() * 0)",
            "({call} if {x}.shape[{dim}] > 1 else {x}.sum({dim}) * 0)",
        ),
    ),
)
"""Those that are looked for, the special before the general."""


ZEROS_HANDED_BACK = {
    "untaken-branch": "where hands back 0 for the other branch, and an infinite derivative makes NaN of it",
    "masked-out": "a mask, or what cuts off, hands back 0, and an infinite derivative makes NaN of it",
    "zero-times-infinity": "the product with 0 hands back 0, and an infinite derivative makes NaN of it",
}
"""What hands back a gradient of 0 to such a point, by the ids of patterns."""


def stem_of(node: str) -> str:
    """Return the name of a node without its number.

    >>> stem_of("SqrtBackward0"), stem_of("NormBackward2")
    ('Sqrt', 'Norm')
    """
    return re.sub(r"Backward\d*$", "", node)
