"""The aten operators that move numbers, make constants, or compare."""

from __future__ import annotations

MOVES = frozenset((
    "cat", "stack", "index", "gather", "index_select", "take", "flip", "roll", "repeat", "tril", "triu",
    "diag_embed", "diagonal_backward", "masked_select", "select_backward", "slice_backward", "select_scatter",
    "slice_scatter", "diagonal_scatter", "constant_pad_nd", "expand_copy", "unfold_backward", "repeat_interleave",
    "block_diag",
))  # fmt: skip
"""Operators that only move cells, or put zeros between them: run on positions, they say where each cell goes."""

CONSTANTS = frozenset((
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_full", "new_empty", "new_empty_strided",
))  # fmt: skip
"""Operators that take nothing but the shape from their argument."""

COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "isnan": "isnan", "isinf": "isinf", "logical_not": "logical_not",
}  # fmt: skip
"""PyTorch's comparisons, by their aten name, as NumPy calls them."""
