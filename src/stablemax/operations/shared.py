"""What the records of several operations have in common."""

from __future__ import annotations

from typing import Any

from stablemax.numerics.formats import Array
from stablemax.operations.targets import TARGETS
from stablemax.operations.variant import Variant

BOOKKEEPING = ("input-unchanged", "dtype-kept", "shape-kept")
"""The laws of every operation: of a function's manners, not of its numbers."""

GRADIENT = r"grad|backward|vjp|jacobian|derivative"
"""Words by which a function's name says that it is a gradient."""

LOSS = r"cross_?entropy|x_?ent(?=_|$)|nll|loss(?=_|$|es)"
"""Words by which a function's name says that it is a loss of a softmax."""

CELL_LOSS = (
    r"(?<![a-z])bce|binary_?(cross_?entropy|x_?ent|loss)|(sigmoid|logistic)_?(binary_?)?(cross_?entropy|x_?ent|loss)"
)
"""Words by which a function's name says that it is a loss of one logit and its target."""

VALUE = rf"^(?!.*({GRADIENT})).*"
"""Before a pattern: the function is no gradient."""

_FEW_ULP = "a few ulp of float64 do not show in a narrower format"
HALF_AN_ULP = f"{_FEW_ULP}: at most 0.51 ulp there"


def widened(best: Variant, *, holds: str = _FEW_ULP, breaks: str) -> Variant:
    """Declare the variant `wide`: the best variant in float64, rounded once to the format."""

    def wide(x: Array, *rest: Any) -> Array:
        *second, xp = rest
        wider = (s.to(xp.wider) if isinstance(s, TARGETS) else xp.widen(s) for s in second)
        return xp.narrow(best.function(xp.widen(x), *wider, xp.wider))

    wide.__doc__ = (
        f"`{best.name}` in float64, rounded once.\n\n"
        f"Why it holds: {holds}. In float64 this is `{best.name}`.\n\n"
        f"Where it breaks: {breaks}."
    )
    formula = f"{best.id} in float64, rounded once to the format"
    return Variant(best.operation, "wide", formula, wide, cites=best.cites, promises=best.promises)
