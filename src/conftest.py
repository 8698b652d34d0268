"""Doctests of modules that need another library are collected only where that library is installed."""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = {"torch": ("torch",), "jax": ("jax",), "optax": ("jax", "optax"), "scipy": ("scipy",)}
collect_ignore_glob = [
    f"stablemax/{room}"
    for name, libraries in NEEDS.items()
    for room in (f"peers/{name}*.py", f"trace/{name}/*.py")
    if not all(map(find_spec, libraries))
]
