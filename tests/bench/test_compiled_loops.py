"""Numba's loops are compiled before anything is timed, for all inputs or for none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stablemax.bench.bench_words import Shape, TimedDtype
from stablemax.bench.compiled_loops import compiled_loops, loops_of
from stablemax.bench.plan import Input
from stablemax.kernels import passes
from stablemax.results import LoopCompiler

from ..records import SOFTMAX

SMALL = Input(Shape(8, 16), TimedDtype.FLOAT32)
LARGE = Input(Shape(10_000, 1000), TimedDtype.FLOAT32)
COMPILED = """
from stablemax.bench.bench_words import Shape, TimedDtype, timed_operations
from stablemax.bench.compiled_loops import compiled_loops, loops_of
from stablemax.bench.implementations import ours
from stablemax.bench.plan import Input
from stablemax.kernels import passes

passes.WORTH_IMPORT = 40_000
given = [Input(Shape(20, 2000), dtype) for dtype in TimedDtype]
compiler, notes = compiled_loops(timed_operations(), given)

from stablemax.kernels import fused_loops, quick_loops

loops = [f for m in (fused_loops, quick_loops) for f in vars(m).values() if hasattr(f, "signatures")]
before = sum(len(f.signatures) for f in loops)
for one in given:
    for operation in timed_operations():
        ours().call(operation, *one.generated(1), 2)()
print(compiler.version, notes, loops_of(given[0].shape, compiler), passes.has_loops())
print(before, sum(len(f.signatures) for f in loops))
"""


@pytest.fixture
def without_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loops are loaded, whatever ran in this process before."""
    monkeypatch.setattr(passes, "has_loops", lambda: False)


@pytest.mark.usefixtures("without_loops")
def test_small_inputs_are_timed_without_numba() -> None:
    assert compiled_loops((SOFTMAX,), [SMALL]) == (None, [])
    assert loops_of(SMALL.shape, None) == loops_of(LARGE.shape, None) == "NumPy"


@pytest.mark.usefixtures("without_loops")
def test_without_numba_a_note_on_a_large_input_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "has_numba", lambda: False)
    compiler, notes = compiled_loops((SOFTMAX,), [SMALL, LARGE])
    assert compiler is None
    assert len(notes) == 1
    assert notes[0].startswith("numba is not installed: inputs of 10,000,000 logits and more ")
    assert notes[0].endswith('; pip install "stablemax[fast]"')
    assert compiled_loops((SOFTMAX,), [SMALL]) == (None, [])


def test_what_runs_an_input_is_what_the_kernels_choose_for_it() -> None:
    pytest.importorskip("numba", reason="its loops are chosen")
    passes.loops(may_be_quick=False)
    for classes in (passes.WORTH_LOOPS - 1, passes.WORTH_LOOPS):
        chosen = "Numba" if passes.is_worth_loops(classes) else "NumPy"
        assert chosen == loops_of(Shape(1, classes), LoopCompiler("0.1", "some-cpu"))


@pytest.mark.slow
def test_nothing_is_compiled_while_it_is_timed() -> None:
    numba = pytest.importorskip("numba", reason="it compiles")
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False, timeout=300)
    assert done.stderr == ""
    told, counts = done.stdout.splitlines()
    assert told == f"{numba.__version__} [] Numba True"
    before, after = map(int, counts.split())
    assert 0 < before == after
