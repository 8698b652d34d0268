"""Runs that are killed or stopped, or lack room: the file of -o is whole or not there, and the code says what happened.

STABLEMAX_KILLS says how many runs are killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.cli.app import COMMANDS
from stablemax.render.array_files import FILES
from stablemax.render.writers import WRITERS

from .forked_runs import ENDING, Ended, Run, checksum, ended
from .running import process, run, start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, limits and signals of Linux")

KILLS = int(os.environ.get("STABLEMAX_KILLS", "20"))
MANY = 500
OLD = "what stood there before\n"
CODE = "import numpy as np\ndef softmax(x):\n    e = np.exp(x)\n    return e / e.sum(-1, keepdims=True)\n"
SHORT = ("--preset", "notebook-c", "--operation", "softmax", "--format", "float32")

# What each command is tried with; `list` and `help` begin no work.
TRIED: dict[str, tuple[str, ...]] = {
    "compare": SHORT,
    "check": ("code.py:softmax", "--format", "float32", "--only", "large-logits", "--no-search"),
    "inspect": ("x.npy", "--format", "float32"),
    "judge": ("--operation", "softmax", "x.npy", "p.npy"),
    "sweep": ("--over", "scale", "--operation", "softmax", "--format", "float32", "--steps", "3"),
    "tolerance": ("softmax", "--format", "float32", "--classes", "4", "--scale", "1"),
    "trace": ("code.py:softmax", "x.npy"),
    "watch": ("--", sys.executable, "-c", "pass"),
    "loss": ("x.npy", "y.npy"),
    "softmax": ("x.npy",),
    "log-softmax": ("x.npy",),
    "logsumexp": ("x.npy",),
    "grad": ("x.npy", "y.npy"),
    "sigmoid": ("x.npy",),
    "log-sigmoid": ("x.npy",),
    "softplus": ("x.npy",),
    "bce": ("x.npy", "t.npy"),
    "bce-grad": ("x.npy", "t.npy"),
    "entropy": ("x.npy",),
    "kl-divergence": ("x.npy", "x.npy"),
    "generate": (),
    "explain": ("softmax/naive",),
    "report": ("x.npy", "y.npy"),
    "lesson": ("overflow",),
    "bench": ("--operation", "logsumexp", "--shape", "2x3", "--peer", "numpy"),
    "list": ("formats",),
    "help": ("loss",),
}


@pytest.fixture(scope="module")
def inputs() -> Iterator[Path]:
    """A folder that everybody may read, with an input of every kind; tests write nothing into it."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        fill(Path(name))
        yield Path(name)


def fill(folder: Path) -> None:
    x = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", np.array([1, 3, 0, 2, 2, 1]))
    np.save(folder / "t.npy", np.full((6, 4), 0.5, np.float32))
    np.save(folder / "p.npy", np.exp(x) / np.exp(x).sum(1, keepdims=True))
    np.savetxt(folder / "x.csv", x, delimiter=",")
    (folder / "code.py").write_text(CODE)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder to write into, with a folder for temporary files in it."""
    fill(tmp_path)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def test_every_command_is_tried() -> None:
    assert set(TRIED) == set(COMMANDS)


# --- killed -------------------------------------------------------------------------------------

WAYS_TO_DIE = """
import os, sys
from pathlib import Path

folder, force, existing = Path(sys.argv[1]), sys.argv[2] == "force", sys.argv[3] == "existing"
from stablemax.text import files
from stablemax.inputs import spooled, temporary_folder

OURS = {files.__file__, spooled.__file__, temporary_folder.__file__}
OLD, NEW = b"old" * 9, b"new" * 90_000
target = folder / "o.npy"


def write():
    with spooled.Spool("x", in_memory=-1) as spool, files.whole_file(str(target), force=force) as stream:
        spool.write(NEW)
        stream.write(NEW)
        stream.write(NEW)


def dying_at(step):
    count = 0

    def trace(frame, event, given):
        nonlocal count
        if frame.f_code.co_filename not in OURS:
            return None
        count += 1
        if count == step:
            os.kill(os.getpid(), 9)
        return trace

    sys.settrace(trace)
    write()
    sys.settrace(None)
    os._exit(0)


step, seen = 0, set()
while True:
    step += 1
    target.unlink(missing_ok=True)
    if existing:
        target.write_bytes(OLD)
    child = os.fork()
    if child == 0:
        dying_at(step)
    status = os.waitpid(child, 0)[1]
    there = target.read_bytes() if target.exists() else b""
    assert there in (OLD if existing else b"", NEW + NEW), (step, len(there))
    seen.add((len(there), len(list(folder.iterdir())) > target.exists()))
    if status == 0:
        break
target.unlink(missing_ok=True)
force = True
write()
print(step, len(seen), sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "existing"), [("force", "existing"), ("force", "new"), ("keep", "new")])
def test_a_run_killed_at_any_line_of_writing_leaves_the_old_or_the_new_and_the_next_run_nothing_else(
    how: str, existing: str, tmp_path: Path
) -> None:
    # All lines of ours from the first temporary file to the last close, each in a child that dies there.
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", WAYS_TO_DIE, str(tmp_path), how, existing]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    steps, seen, names = done.stdout.split(maxsplit=2)
    assert int(steps) > 100
    assert int(seen) > 2, "no kill left anything to be removed"
    assert names.strip() == "['o.npy']"


def ways_to_write(desk: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The target and the command of every writer: of arrays by ending, of documents by name."""
    for ending in FILES:
        yield f"a{ending}", ("softmax", "x.npy", "--force")
        yield f"m{ending}", ("softmax", "x.csv", "--memory", "64MB", "--force")
        yield f"g{ending}", ("generate", "--rows", "3", "--classes", "4", "--force")
    for writer in WRITERS.values():
        # The quickest command that has what this writer writes from.
        for command in (("loss", "x.npy", "y.npy"), ("compare", *SHORT), ("lesson", "overflow")):
            done = run(*command, "--output-format", writer.name, "-o", str(desk / "probe"))
            if done.code == 0:
                break
        else:
            pytest.fail(f"{writer.name}: no command writes it: {done.err}")
        yield f"d.{writer.name}", (*command, "--output-format", writer.name)


def runs_to_kill(desk: Path, kills: int) -> list[list[Run]]:
    """For each way to write: a whole run, runs that are killed, and a whole run again."""
    dice = random.Random(kills)
    ways = list(ways_to_write(desk))
    lists = []
    for target, command in ways:
        whole = Run((*command, "-o", target), str(desk), when_hidden=True, target=target)
        killed = [
            # Most while they write, some at any time.
            replace(whole, signal=signal.SIGKILL, after=1.1 * dice.random() ** 2, when_hidden=bool(number % 8),
                    old=OLD if number % 2 else None)
            for number in range(-(-kills // len(ways)))
        ]  # fmt: skip
        lists.append([whole, *killed, whole])
    return lists


@pytest.mark.slow
def test_kill_9_in_the_middle_of_o_leaves_the_old_file_or_the_new_one_and_the_next_run_nothing_else(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    lists = runs_to_kill(desk, KILLS)
    (desk / "probe").unlink()
    allowed = {path.name for path in desk.iterdir()} | {runs[0].target for runs in lists}
    results = iter(ended([one for runs in lists for one in runs], TMPDIR=str(desk / "tmp"), SOURCE_DATE_EPOCH="1"))
    found: Counter[str] = Counter()
    for runs in lists:
        target = runs[0].target
        first, *killed, last = (next(results) for _ in runs)
        assert (first.code, last.code, last.content) == (0, 0, first.content), (target, first, last)
        for run_, one in zip(runs[1:-1], killed, strict=True):
            assert one.code in {0, -signal.SIGKILL}, (target, one)
            contents = {checksum(OLD.encode()) if run_.old else "": "old", first.content: "new"}
            assert one.content in contents, (target, run_, one)
            found[contents[one.content]] += 1
            found["beside"] += any(name.startswith(f".{target}.") for name in one.names)
            found["temporary"] += bool(one.temporary)
        assert set(last.names) <= allowed, "left after the next run"
        assert not last.temporary, "left after the next run"
    print(f"{sum(map(len, lists)) - 2 * len(lists)} kills: {dict(found)}")  # noqa: T201 - how many hit what
    # Few kills may all come a moment too late.
    assert found["beside"] or KILLS < MANY, "no run was killed while it wrote"
    assert found["temporary"] or KILLS < MANY, "no run was killed while it had a temporary file"


# --- streams and room ---------------------------------------------------------------------------

CLOSED = "error: standard output is closed\nhint: redirect it to a file or to /dev/null\n"
# `generate` writes a file or nothing; `bench` computes for seconds, and prints as the others do; to `watch` standard
# output is the program's, and nothing is written of a program that is not watched.
PRINTING = [name for name in TRIED if name not in {"generate", "bench", "watch"}]
QUICK = [name for name in PRINTING if name not in {"trace", "report", "sweep", "tolerance"}]
WRITING = [name for name in TRIED if name not in {"help", "watch"}]


def tried(folder: Path, names: Iterable[str], **how: Any) -> list[Run]:
    return [Run((name, *TRIED[name]), str(folder), **how) for name in names]


def written(folder: Path, names: Iterable[str], output: str, **how: Any) -> list[Run]:
    """Runs of commands with -o: arrays as .npy, the page of `report` as .html, others as text."""
    kinds = {name: ".npy" if COMMANDS[name][0] in {"arrays", "generate"} else ".txt" for name in names}
    kinds |= {"report": ".html", "lesson": ".ipynb"}
    return [
        Run((name, *TRIED[name], "-o", f"{output}{kinds[name]}"), str(folder), target=f"{output}{kinds[name]}", **how)
        for name in names
    ]


def assert_told(one: Ended, *words: str) -> None:
    """Assert that a run ended with a reason and a hint, a line each; before them may stand what a check found."""
    assert one.code == 2, one
    lines = one.err.splitlines()
    assert [line.partition(": ")[0] for line in lines[-2:]] == ["error", "hint"], one
    assert [line.partition(": ")[0] for line in lines[:-2]] in ([], ["failed"], ["note"]), one
    for word in words:
        assert word in one.err, one


@pytest.fixture(scope="module")
def usual(inputs: Path) -> dict[str, Ended]:
    """What each command gives where nothing is in its way."""
    return dict(zip(QUICK, ended(tried(inputs, QUICK)), strict=True))


@pytest.mark.slow
def test_every_command_tells_that_standard_output_is_full(inputs: Path) -> None:
    for one in ended(tried(inputs, PRINTING, streams={1: "/dev/full"})):
        assert_told(one, "error: standard output cannot be written (No space left on device)")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_every_command_bears_closed_streams(closed: tuple[int, ...], inputs: Path, usual: dict[str, Ended]) -> None:
    for name, one in zip(QUICK, ended(tried(inputs, QUICK, streams=dict.fromkeys(closed))), strict=True):
        there = usual[name]
        expected = (2, "", CLOSED) if 1 in closed else (there.code, there.out, there.err)
        assert (one.code, one.out, one.err) == (*expected[:2], "" if 2 in closed else expected[2]), name


@pytest.mark.slow
def test_every_command_tells_that_its_file_does_not_fit_and_leaves_none(desk: Path) -> None:
    names = [name for name in WRITING if name != "bench"]
    for one in ended(written(desk, names, "o", limits={"RLIMIT_FSIZE": 16}), TMPDIR=str(desk / "tmp")):
        assert_told(one, "o.", "cannot be written (File too large)", "ulimit -f")
        assert one.content == ""
        assert not [name for name in one.names if name.startswith(".")]
        assert not one.temporary


# --- what the machine allows --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("limits", [{"RLIMIT_NOFILE": 0}, {"RLIMIT_NOFILE": 3}, {"RLIMIT_AS": 8 << 20}], ids=str)
def test_a_limit_of_the_machine_is_told_as_one(limits: dict[str, int], inputs: Path, usual: dict[str, Ended]) -> None:
    told = 0
    for name, one in zip(QUICK, ended(tried(inputs, QUICK, limits=limits)), strict=True):
        assert "Traceback" not in one.err, (name, one)
        if one.code == usual[name].code:
            assert one.out == usual[name].out, (name, one)
        else:
            assert_told(one, "ulimit")
            told += 1
    assert told, "nothing ran out"


# --- signals ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_at_any_moment_ends_every_command_with_its_code_and_leaves_nothing(number: int, desk: Path) -> None:
    # Each signal ends another third of the commands.
    names = [name for name in WRITING if name not in {"bench", "trace", "report", "sweep", "tolerance"}]
    names = names[ENDING.index(number) :: len(ENDING)]
    dice = random.Random(number)
    runs = []
    for whole in written(desk, names, "o"):
        # Replaced where there is one already.
        forced = replace(whole, arguments=(*whole.arguments, *force_of(whole)))
        runs += [forced, *(replace(forced, signal=number, after=dice.uniform(0, 1)) for _ in range(3)), forced]
    first: Ended | None = None
    ended_by_it = 0
    for run_, one in zip(runs, ended(runs, TMPDIR=str(desk / "tmp")), strict=True):
        if not run_.signal:
            first = one
            assert not [name for name in one.names if name.startswith(".")], one
            assert not one.temporary, one
            continue
        assert first is not None
        assert one.code in {128 + number, first.code}, (run_, one)
        if one.code == 128 + number:
            assert (one.out, one.err) == ("", ""), (run_, one)
            ended_by_it += 1
        else:
            assert one.content, (run_, one)
    assert ended_by_it or KILLS < MANY


def force_of(one: Run) -> tuple[str, ...]:
    return ("--force",) if one.target.endswith(".npy") else ()


IN_A_CALLBACK = """
import gc, os, signal, sys, weakref

class Thing:
    def __del__(self):
        if {where!r} == "__del__":
            strike()

def strike(*_):
    os.kill(os.getpid(), {number})
    for _ in range(1000):  # the handler runs at the next step of this
        pass

def interrupted():
    thing = Thing()
    if {where!r} == "a weak reference":
        kept.append(weakref.ref(thing, strike))
    if {where!r} == "the collector":
        gc.callbacks.append(strike)
        gc.collect()
    del thing

kept = []
from stablemax.cli import main
if {when!r} == "an import":
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "stablemax.cli.app":
                interrupted()
    sys.meta_path.insert(0, Finder())
else:
    really = main._run
    main._run = lambda: (interrupted(), really())[1]
sys.argv = ["stablemax", "--help"]
main.main()
"""


@pytest.mark.parametrize("when", ["an import", "the work"])
@pytest.mark.parametrize("where", ["a weak reference", "__del__", "the collector"])
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_in_a_callback_that_swallows_errors_ends_the_run_all_the_same(
    number: int, where: str, when: str
) -> None:
    code = IN_A_CALLBACK.format(number=int(number), where=where, when=when)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")


@pytest.mark.slow
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_the_program_is_loaded_ends_it_with_its_code(number: int, inputs: Path) -> None:
    began = time.monotonic()
    assert process("loss", "x.npy", "y.npy", cwd=inputs).code == 0
    whole_s = time.monotonic() - began
    dice = random.Random(number)
    # Python's own start has no handler yet; the program has from when it has loaded its first modules.
    pythons = (b"Fatal Python error", b"runpy", b"site.py", b"importlib._bootstrap")
    codes: Counter[int] = Counter()
    for _ in range(-(-KILLS // 5)):
        child = start("loss", "x.npy", "y.npy", cwd=inputs)
        time.sleep(dice.uniform(0.1, 1.0) * whole_s)
        child.send_signal(number)
        out, err = child.communicate(timeout=300)
        if child.returncode == -number or (child.returncode == 1 and any(text in err for text in pythons)):
            continue
        assert child.returncode in {0, 128 + number}, (out, err)
        assert bool(out) is (child.returncode == 0), (out, err)
        assert not err
        codes[child.returncode] += 1
    assert codes[128 + number] or KILLS < MANY, codes
