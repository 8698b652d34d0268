"""Doctests of modules that need another library are collected only where that library is installed."""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = {
    "peers/torch*.py": ("torch",),
    "peers/jax*.py": ("jax",),
    "peers/optax*.py": ("jax", "optax"),
    "peers/scipy*.py": ("scipy",),
    "trace/torch/*.py": ("torch",),
    "inputs/remote.py": ("fsspec",),
}
collect_ignore_glob = [
    f"stablemax/{modules}" for modules, libraries in NEEDS.items() if not all(map(find_spec, libraries))
]
