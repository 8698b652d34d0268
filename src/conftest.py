"""Doctests of modules that need another library are collected only where that library is installed."""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = {
    "libraries/torch*.py": ("torch",),
    "libraries/jax*.py": ("jax",),
    "libraries/optax*.py": ("jax", "optax"),
    "libraries/scipy*.py": ("scipy",),
    "trace/torch/*.py": ("torch",),
    "watching/torch/*.py": ("torch",),
    "watching/block.py": ("torch",),
    "trace/jax/*.py": ("jax",),
    "inputs/remote.py": ("fsspec",),
    "inputs/web_answers.py": ("aiohttp",),
}
collect_ignore_glob = [
    f"stablemax/{modules}" for modules, libraries in NEEDS.items() if not all(map(find_spec, libraries))
]
