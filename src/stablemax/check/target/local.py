"""A target in this process: somebody's code, or one of our variants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stablemax.check.target.any_target import AnyTarget
from stablemax.check.target.code_target import CodeTarget
from stablemax.check.target.load import Code, is_code, load, module_and_name
from stablemax.check.target.messages import LoadedTarget
from stablemax.check.target.variant_target import VariantTarget

if TYPE_CHECKING:
    from stablemax.check.target.messages import Target

_COMMON = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64")
FORMATS_OF = {"torch": _COMMON, "jax": ("float4_e2m1fn", "float8_e3m4", "float8_e4m3", *_COMMON)}
"""The number formats in which a library has arrays; NumPy has all: with ml_dtypes, or emulated."""


def load_local(target: Target, function: Callable[..., Any] | None = None) -> LoadedTarget:
    """Load a target into this process: the function itself, where it is at hand, or what the target names."""
    if function is not None:
        module, name = module_and_name(function)
        return CodeTarget(target, Code(function, name), module)
    if not is_code(target.name):
        return VariantTarget(target)
    module = target.name.rpartition(":")[0]
    # Nothing is imported from a notebook.
    return CodeTarget(
        target, load(target.name, target.further, target.seed), "" if module.endswith(".ipynb") else module
    )


def load_for(target: Target, function: Callable[..., Any] | None = None) -> LoadedTarget | AnyTarget:
    """Load a target for what is meant: to be held to an operation, or to none."""
    return AnyTarget(target) if target.is_any else load_local(target, function)
