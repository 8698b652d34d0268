"""Numba's loops, compiled before anything is timed: what a compiler takes is in no time and in no peak of memory."""

from __future__ import annotations

from collections.abc import Iterable

from stablemax.bench.bench_words import Shape
from stablemax.bench.implementations import ours
from stablemax.bench.plan import Input
from stablemax.kernels import passes
from stablemax.operations.operation import Operation
from stablemax.results import LoopCompiler

INSTALL = 'pip install "stablemax[fast]"'
_SMALL = Shape(passes.WORTH_LOOPS >> 10, 1 << 10)


def compiled_loops(operations: Iterable[Operation], inputs: list[Input]) -> tuple[LoopCompiler | None, list[str]]:
    """Load and compile the loops where an input is worth it, and say where there is no Numba to do it.

    They are loaded for all inputs or for none: otherwise what runs a small one would hang on what came before it.
    """
    worth = any(i.shape.rows * i.shape.classes >= passes.WORTH_IMPORT for i in inputs)
    if not (worth or passes.has_loops()):
        return None, []
    if not passes.has_numba():
        why = f"numba is not installed: inputs of {passes.WORTH_IMPORT:,} logits and more are computed by NumPy's loops"
        return None, [f"{why}, which take longer, in float64 several times; {INSTALL}"]
    from stablemax.kernels import compiling, fused_loops  # noqa: F401 - now loaded, they run small inputs, too

    implementation = ours()
    for dtype in dict.fromkeys(i.dtype for i in inputs):
        x, y = Input(_SMALL, dtype).generated(0)
        for operation in operations:
            implementation.call(operation, x, y, 1)()
    return LoopCompiler(*compiling.compiler()), []


def loops_of(shape: Shape, compiler: LoopCompiler | None) -> str:
    """Name what runs our loops on an input, where `compiled_loops` found a compiler, or none."""
    return "Numba" if compiler and shape.rows * shape.classes >= passes.WORTH_LOOPS else "NumPy"
