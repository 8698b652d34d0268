"""What the records of several operations have in common."""

from __future__ import annotations

BOOKKEEPING = ("input-unchanged", "dtype-kept", "shape-kept")
"""The laws of every operation: of a function's manners, not of its numbers."""

GRADIENT = r"grad|backward|vjp|jacobian|derivative"
"""Words by which a function's name says that it is a gradient."""

LOSS = r"cross_?entropy|x_?ent(?=_|$)|nll|loss(?=_|$|es)"
"""Words by which a function's name says that it is a loss of a softmax."""
