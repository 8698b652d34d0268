"""What the records of several operations have in common."""

from __future__ import annotations

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
