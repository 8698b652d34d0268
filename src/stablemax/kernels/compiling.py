"""How Numba compiles the kernels: what bit patterns and fused operations are to it, and where it keeps what it made.

What is compiled is kept in the folder of NUMBA_CACHE_DIR, or in the user's folder for caches, until Numba, the
processor or the source of the kernels changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_name
from numba import __version__, config, njit, types
from numba.extending import intrinsic, overload
from numba.misc.appdirs import AppDirs

from stablemax.kernels import double_double


@intrinsic  # type: ignore[untyped-decorator]
def as_integer(_context: Any, _value: Any) -> Any:
    """Return the bit pattern of a float64."""

    def generated(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], ir.IntType(64))

    return types.int64(types.float64), generated


@intrinsic  # type: ignore[untyped-decorator]
def as_float(_context: Any, _value: Any) -> Any:
    """Return the float64 of a bit pattern."""

    def generated(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], ir.DoubleType())

    return types.float64(types.int64), generated


@intrinsic  # type: ignore[untyped-decorator]
def muladd(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """Return ``a * b + c``, rounded once where the processor does that as fast; for results that hang on neither."""

    def generated(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        double = ir.DoubleType()
        return builder.call(
            builder.module.declare_intrinsic("llvm.fmuladd", [double], ir.FunctionType(double, [double] * 3)), values
        )

    return types.float64(types.float64, types.float64, types.float64), generated


@intrinsic  # type: ignore[untyped-decorator]
def fma(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """Return ``a * b + c``, rounded once."""

    def generated(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float64(types.float64, types.float64, types.float64), generated


@overload(double_double.bits, inline="always")
def _bits(t):  # type: ignore[no-untyped-def]  # noqa: ARG001, ANN - Numba compares the signatures
    return lambda t: as_integer(t)  # noqa: PLW0108 - Numba wants a function of Python


@overload(double_double.from_bits, inline="always")
def _from_bits(i):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda i: as_float(i)  # noqa: PLW0108


def _folder() -> str:
    """Name a folder for these very sources: Numba looks at the file of a function, not at those that it calls."""
    sources = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    base = config.CACHE_DIR or AppDirs("stablemax", appauthor=False).user_cache_dir
    return str(Path(base) / f"loops-{hashlib.sha256(sources).hexdigest()[:16]}")


def compiled(function: Callable[..., Any]) -> Any:
    """Let Numba compile a function when it is first called, and keep what it compiled where that can be written."""
    usual = config.CACHE_DIR
    try:
        config.CACHE_DIR = _FOLDER
        return njit(nogil=True, cache=True)(function)
    except (OSError, RuntimeError):
        return njit(nogil=True)(function)
    finally:
        config.CACHE_DIR = usual


def compiler() -> tuple[str, str]:
    """Return Numba's version, and the processor that it compiles for."""
    return __version__, config.CPU_NAME or get_host_cpu_name()


_FOLDER = _folder()
inlined = njit(inline="always")
