"""The pieces that variants of several operations share."""

from __future__ import annotations

import numpy as np

from stablemax.numerics.arithmetic import Namespace
from stablemax.numerics.formats import Array

TILE = 32
"""Classes per tile of the tiled variants; flash-attention takes 64 or 128 of them."""


def online_normaliser(x: Array, xp: Namespace) -> tuple[Array, Array]:
    """Maximum and sum of exp(x - maximum) in one pass: algorithm 3 of Milakov and Gimelshein."""
    m = x[..., :1]
    s = xp.exp(m - m)
    for j in range(1, x.shape[-1]):
        column = x[..., j : j + 1]
        larger = xp.maximum(m, column)
        s = s * xp.exp(m - larger) + xp.exp(column - larger)
        m = larger
    return m, s


def tiled_normaliser(x: Array, xp: Namespace) -> tuple[Array, Array]:
    """Maximum and sum of exp(x - maximum), tile by tile, tiles of nothing but -inf left out.

    The maximum of such a tile is -inf, and -inf - -inf is NaN (flash-attention 1930): exponents are
    taken against 0 there instead, which gives the right sum, 0.
    """
    tiles = [x[..., i : i + TILE] for i in range(0, x.shape[-1], TILE)]
    m, s = _tile(tiles[0], xp)
    for tile in tiles[1:]:
        tile_max, tile_sum = _tile(tile, xp)
        larger = xp.maximum(m, tile_max)
        safe = _finite(larger, xp)
        s = s * xp.exp(m - safe) + tile_sum * xp.exp(tile_max - safe)
        m = larger
    return m, s


def _tile(tile: Array, xp: Namespace) -> tuple[Array, Array]:
    m = xp.max(tile)
    return m, xp.sum(xp.exp(tile - _finite(m, xp)))


def _finite(m: Array, xp: Namespace) -> Array:
    return xp.where(xp.isfinite(m), m, xp.number(0.0))


def softmax_jacobian(p: Array, xp: Namespace) -> Array:
    """J[k, l] = p_k (1 - p_k) on the diagonal, -p_k p_l elsewhere; (N, K, K)."""
    diagonal = np.eye(p.shape[-1], dtype=bool)
    own = p * (xp.number(1.0) - p)
    return xp.where(diagonal, own[..., None], -p[..., :, None] * p[..., None, :])
