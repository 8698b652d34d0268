"""``with stablemax.watch():`` and the fixture of pytest."""

from __future__ import annotations

import gc
import runpy
import subprocess
import sys
import weakref
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="operations of PyTorch are watched")

import stablemax  # noqa: E402
from stablemax.watching.torch.replaced_functions import replaced  # noqa: E402
from stablemax.watching.torch.ring import LAST_OPERATIONS  # noqa: E402


def log_of_softmax() -> Any:
    return torch.log(torch.softmax(torch.tensor([0.0, 200.0]), 0)).sum()


def test_a_block_tells_on_standard_error_and_keeps_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    with stablemax.watch(repro=None) as watched:
        log_of_softmax()
    assert watched.result.verdict == "operation"
    assert watched.result.cause is not None
    assert watched.result.cause.operation == "aten._softmax"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("stablemax: An operation, at step 1, ")
    assert "  self: float32 2, 0 to 1, 0 inf, 0 NaN, 1 zeros\n" in err


def test_a_result_that_is_held_at_the_end_counts_and_one_that_was_taken_out_does_not() -> None:
    zeros = torch.zeros(2)
    with stablemax.watch(repro=None, quiet=True) as watched:
        held = torch.exp(zeros + 1000)
    assert held.isinf().all()
    assert watched.result.verdict == "operation"
    assert "exp gives inf for 2 of 2 cells" in watched.result.finding
    assert "It is there at the end." in watched.result.finding
    with stablemax.watch(repro=None, quiet=True) as watched:
        inverse = 1 / zeros
        torch.where(zeros > 0, inverse, zeros)
    assert watched.result.verdict is None
    with stablemax.watch(repro=None, quiet=True) as watched:
        torch.exp(zeros + 1000)
    assert watched.result.verdict is None
    assert "1 operation gave inf or NaN that went no further" in watched.result.notes[0]


def test_nothing_of_the_program_lives_longer_for_being_watched_but_the_last_operations() -> None:
    with stablemax.watch(repro=None, quiet=True):
        for number in (0.0, torch.nan):
            given = torch.full((3,), number)
            made = 1 / given
            gone = (weakref.ref(given), weakref.ref(made))
            torch.nan_to_num(made)
            del given, made
            for _ in range(LAST_OPERATIONS):
                torch.ones(1)
            gc.collect()
            assert [ref() for ref in gone] == [None, None]


def test_what_others_kept_of_a_function_that_was_replaced_is_the_function_again_and_holds_nothing() -> None:
    # As PyTorch's compiler does, in a table that it makes with the first optimizer.
    owner = SimpleNamespace(double=lambda x: 2 * x)

    def wrapper(own: Any, x: Any) -> Any:
        return own(x) + 1

    gone = weakref.ref(wrapper)
    with replaced(owner, "double", wrapper):
        kept = owner.double
        assert kept(3) == 7
    del wrapper
    assert (kept(3), owner.double(3), gone()) == (6, 6, None)


def test_outside_of_a_block_nothing_is_watched_and_nothing_is_left_behind() -> None:
    before = (torch.autograd.backward, torch.compile, torch.amp.GradScaler.step, torch.optim.Optimizer.__init__)
    with stablemax.watch(repro=None, quiet=True) as watched:
        torch.ones(2).exp()
    log_of_softmax()
    assert watched.result.verdict is None
    assert 0 < watched.result.operations < 5
    after = (torch.autograd.backward, torch.compile, torch.amp.GradScaler.step, torch.optim.Optimizer.__init__)
    assert after == before
    with stablemax.watch(repro=None, quiet=True) as again, pytest.raises(ValueError, match="ended"):
        raise ValueError("ended")
    assert again.result.verdict is None


def test_a_block_writes_the_files_that_show_it_beside_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with stablemax.watch(quiet=True) as watched:
        log_of_softmax()
    assert watched.result.repro == "stablemax-repro"
    assert {p.name for p in (tmp_path / "stablemax-repro").iterdir()} == {"inputs.npz", "show.py", "test_repro.py"}
    with stablemax.watch(quiet=True) as watched:  # its own folder is replaced
        (torch.tensor([0.0], dtype=torch.bfloat16) / 0).sum()
    assert watched.result.repro == "stablemax-repro"
    runpy.run_path("stablemax-repro/show.py", run_name="__main__")
    shown = capsys.readouterr().out
    assert "div" in shown
    assert "1 of 1 cells of the result are inf or NaN" in shown


def test_the_files_show_a_number_that_became_0_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repro, small = tmp_path / "repro", torch.tensor([1e-30, 1.0])
    with stablemax.watch(on="lost", repro=str(repro), quiet=True) as watched:
        (small * small).sum()
    assert watched.result.repro == str(repro)
    runpy.run_path(str(repro / "show.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 2 cells of the result are 0, and are not in float64"
    with pytest.raises(AssertionError, match="1 of 2 cells are 0, and are not in float64"):
        runpy.run_path(str(repro / "test_repro.py"))["test_the_last_operations_give_the_numbers_that_they_should"]()


def test_a_mistake_is_refused_before_the_block_runs(tmp_path: Path) -> None:
    with pytest.raises(stablemax.StablemaxError, match="there is no 'inf'"):
        stablemax.watch(on="inf")
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(stablemax.StablemaxError, match="holds other files"), stablemax.watch(repro=str(tmp_path)):
        pass


def test_a_mistake_of_the_watch_itself_ends_the_watch_and_not_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stablemax.watching.torch.suspect_outputs.suspicion_of", lambda *_: 1 / 0)
    with stablemax.watch(repro=None, quiet=True) as watched:
        loss = log_of_softmax()
    assert loss.isinf()
    assert "a mistake of its own: ZeroDivisionError" in watched.result.finding
    assert watched.result.error


FIXTURE = """
import torch

def test_it(stablemax_watch):
    torch.log(torch.softmax(torch.tensor([0.0, {size}]), 0)).sum()
"""


@pytest.mark.slow
def test_a_test_with_the_fixture_fails_where_something_is_made(tmp_path: Path) -> None:
    (tmp_path / "test_sound.py").write_text(FIXTURE.format(size="2.0"))
    (tmp_path / "test_faulty.py").write_text(FIXTURE.format(size="200.0"))
    # By its name where the package is not installed, but only found.
    module = "stablemax.watching.pytest_plugin"
    plugin = () if any(e.value == module for e in entry_points(group="pytest11")) else ("-p", module)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 passed, 1 error" in done.stdout
    assert "An operation, at step 1, test_faulty.py:5: log gives -inf" in done.stdout


def test_the_plugin_of_pytest_loads_neither_pytorch_nor_numpy() -> None:
    heavy = {"torch", "numpy", "flint", "rich", "typer"}
    code = f"import sys, stablemax.watching.pytest_plugin; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "[]\n")
