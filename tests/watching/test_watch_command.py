"""``stablemax watch`` as it is run: exit codes, streams, files, and programs that are not watched."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from ..cli.running import Done, assert_refused, process, run

torch = pytest.importorskip("torch", reason="programs of PyTorch are watched")

SCHEMA = json.loads((Path(__file__).parents[1] / "cli" / "schema.json").read_text(encoding="utf-8"))
# Without an optimizer: PyTorch takes three seconds to make the first one of a process.
TRAIN = """
import sys
import torch

model = torch.nn.Linear(3, 2)
with torch.no_grad():
    model.weight.fill_(1.0)
for size in map(float, sys.argv[1:-1]):
    p = torch.softmax(model(torch.tensor([[size, 0.0, 0.0], [0.0, 0.0, 0.0]])) * torch.tensor([1.0, -1.0]), 1)
    loss = -torch.log(p).mean()
    loss.backward()
    with torch.no_grad():
        model.weight -= 0.1 * model.weight.grad
        model.zero_grad()
print("trained", sys.argv[1:])
print("to standard error", file=sys.stderr)
sys.exit(int(sys.argv[-1]))
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def watch(desk: Path, *arguments: str, **changes: str) -> Done:
    return process("watch", *arguments, cwd=desk, env=changes)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A run in which something is found, and its folder."""
    desk = tmp_path_factory.mktemp("found")
    (desk / "train.py").write_text(TRAIN)
    return desk, watch(desk, "-o", "watched.json", "--", sys.executable, "train.py", "1", "60", "1", "0")


def test_a_program_keeps_its_output_and_the_exit_code_is_1_where_something_is_found(found: tuple[Path, Done]) -> None:
    _, done = found
    assert done.code == 1, done.err
    assert done.out == "trained ['1', '60', '1', '0']\n"
    told, own, failed = done.err.splitlines()
    assert told.startswith("stablemax: An operation, at step 2, train.py:10: log gives -inf for 1 of 4 cells")
    assert "The cause is at train.py:9: _softmax gives 0 for 1 of 4 cells" in told
    assert own == "to standard error"
    assert failed == told.replace("stablemax: ", "failed: ")


def test_the_json_is_what_the_schema_says(found: tuple[Path, Done]) -> None:
    document = json.loads((found[0] / "watched.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator({"$ref": "#/$defs/watch", "$defs": SCHEMA["$defs"]})
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)] == []
    assert Draft202012Validator(SCHEMA).is_valid(document)
    assert (document["verdict"], document["steps"], document["exit_code"]) == ("operation", 3, 0)
    assert document["command"][:2] == ["stablemax", "watch"]
    assert document["command"][-5:] == ["train.py", "1", "60", "1", "0"]


def test_the_script_shows_the_fault_and_the_test_fails_without_the_training(
    found: tuple[Path, Done], capsys: pytest.CaptureFixture[str]
) -> None:
    repro = found[0] / "stablemax-repro"
    assert sorted(path.name for path in repro.iterdir()) == ["inputs.npz", "show.py", "test_repro.py"]
    assert not [path for path in found[0].iterdir() if path.name.startswith(".")]
    runpy.run_path(str(repro / "show.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "_softmax  train.py:9" in shown
    assert shown.splitlines()[-1] == "1 of 1 cells of the result are inf or NaN"
    name = "test_the_last_operations_give_the_numbers_that_they_should"
    with pytest.raises(AssertionError, match="1 of 1 cells are inf or NaN"):
        runpy.run_path(str(repro / "test_repro.py"))[name]()
    # A cure in show.py makes it pass.
    script = (repro / "show.py").read_text()
    cured = script.replace("torch.ops.aten._softmax.default", "torch.ops.aten._log_softmax.default")
    cured = cured.replace("torch.ops.aten.log.default(", "(")
    assert cured != script
    (repro / "show.py").write_text(cured)
    runpy.run_path(str(repro / "test_repro.py"))[name]()
    (repro / "show.py").write_text(script)


@pytest.mark.slow
def test_a_program_that_fails_keeps_its_code_and_a_module_is_run_by_its_name(desk: Path) -> None:
    done = watch(desk, "--repro", "elsewhere", "--", sys.executable, "-m", "train", "60", "7")
    assert (done.code, done.out) == (7, "trained ['60', '7']\n")
    assert "What went in, and what came out" in done.err
    assert "train.py:9: p = " not in done.out
    assert (desk / "elsewhere" / "show.py").exists()


@pytest.mark.slow
def test_a_sound_program_ends_with_0_and_the_report_says_how_much_was_watched(desk: Path) -> None:
    done = watch(desk, "--", sys.executable, "train.py", "1", "2", "0")
    assert done.code == 0
    own, found = done.err.splitlines()[:2]
    assert own == "to standard error"
    assert re.fullmatch(r"Nothing found: no inf or NaN was made in \d+ operations of 2 steps\.", found)
    assert not (desk / "stablemax-repro").exists()


def test_a_sitecustomize_of_the_users_own_is_run_too(desk: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import builtins\nbuiltins.own = 'seen'\n")
    (desk / "short.py").write_text("import builtins\nprint(builtins.own)\n")
    path = os.pathsep.join([str(own), os.environ.get("PYTHONPATH", "")])
    done = watch(desk, "--", sys.executable, "short.py", PYTHONPATH=path)
    assert done.out == "seen\n"


# --- nothing is watched ------------------------------------------------------------------------------


def test_a_program_without_pytorch_is_no_pass(desk: Path) -> None:
    assert_refused(watch(desk, "--", sys.executable, "-c", "pass"), "has not imported PyTorch", "stablemax.watch()")
    done = watch(desk, "--", sys.executable, "-c", "raise SystemExit(5)")
    assert done.code == 5
    found = " ".join(done.err.split())
    assert "Nothing was watched: the program failed by itself (exit code 5) before it imported PyTorch." in found
    assert "reproduce: stablemax watch -- " in found


def test_a_program_that_a_signal_ends_has_its_code_and_no_report(desk: Path) -> None:
    done = watch(desk, "--", sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert done.code == 128 + signal.SIGTERM
    assert "Nothing was watched: the program was killed (exit code 143)" in done.err


def test_a_python_without_stablemax_is_told_to_install_it(desk: Path) -> None:
    # A package in place of PyTorch: to load that takes seconds.
    (desk / "torch.py").write_text("")
    code = "import sys; sys.modules['stablemax'] = None; import torch; print('went on')"
    assert_refused(watch(desk, "--", sys.executable, "-c", code), "cannot import stablemax", "-m pip install stablemax")


def test_what_cannot_be_done_is_refused_before_the_program_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    program = ("--", sys.executable, "-c", "print('ran')")
    assert_refused(run("watch", "--", "no-such-program"), "no-such-program cannot be started", "stablemax watch -- ")
    assert_refused(run("watch", "--on", "lots", *program), "there is no 'lots'", "overflow, nan or lost")
    assert_refused(run("watch", "--every", "0", *program), "--every: 0 is below 1")
    (desk / "mine").mkdir()
    (desk / "mine" / "notes.txt").write_text("")
    assert_refused(run("watch", "--repro", "mine", *program), "mine: exists, and holds other files", "--repro")
    assert_refused(run("watch", "--repro", "no/where", *program), "its parent is no folder", "--repro")
    assert (desk / "mine" / "notes.txt").exists()
