"""Standard output is the result, standard error the rest; pipes, signals, closed streams: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from .running import Done, process, run, start

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors of POSIX")
UNWRITTEN = "standard output cannot be written"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def shell(line: str, cwd: Path) -> Done:
    """Run a line of bash in which $S is the program."""
    done = subprocess.run(
        ["bash", "-c", f'S="{sys.executable} -m stablemax"; {line}'],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "STABLEMAX"))},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("--version", 0), ("--help", 0), ("compare -h", 0), ("loss x.npy y.npy", 0), ("compare --preset notebook-b", 0),
        ("compare --preset notebook-b --operation softmax --fail-on nan -q", 1), ("loss x.npy y.npy --max-loss 0.01", 1),  # noqa: E501
        ("loss x.npy ignored.npy", 1), ("loss x.npy missing.npy", 2), ("nope", 2),
    ],
)  # fmt: skip
def test_the_exit_code_says_what_happened(command: str, code: int, samples: Path) -> None:
    done = process(*command.split(), cwd=samples)
    assert done.code == code
    assert "Traceback" not in done.err
    assert bool(done.out) is (code != 2)
    assert bool(done.err) is (code != 0)


def test_a_mistake_of_ours_is_told_as_one_and_exits_with_3(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the wheel\ncame off")

    monkeypatch.setattr("stablemax.compute.loss.loss_of", broken)
    done = run("loss", "x.npy", "y.npy")
    assert (done.code, done.out) == (3, "")
    error, hint = done.err.splitlines()
    assert error.startswith("error: a bug in stablemax: RuntimeError: the wheel")
    assert "STABLEMAX_DEBUG=1" in hint
    with pytest.raises(RuntimeError):
        run("loss", "x.npy", "y.npy", STABLEMAX_DEBUG="1")


def test_running_out_of_memory_is_told_in_words(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("stablemax.compute.loss.loss_of", hungry)
    done = run("loss", "x.npy", "y.npy")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: out of memory\nhint: ")


# --- what goes where ----------------------------------------------------------------------------


def test_notes_go_to_standard_error_and_q_silences_them(here: Path) -> None:
    loud, quiet = (
        run("compare", "long.npy", "--operation", "logsumexp", "--format", "float32", "--judge", "20", *q)
        for q in ((), ("-q",))
    )
    assert loud.err == "note: errors judged on 20 of 20,000 rows\n"
    assert quiet.err == ""
    assert quiet.out == loud.out


def test_q_does_not_silence_why_a_check_failed(here: Path) -> None:
    done = run("loss", "x.npy", "y.npy", "--max-loss", "0.01", "-q")
    assert done.code == 1
    assert done.err.startswith("failed: the loss ")
    refused = run("loss", "x.npy", "missing.npy", "-q")
    assert (refused.code, refused.err.startswith("error: ")) == (2, True)


@pytest.mark.slow
def test_a_pipe_carries_logits(samples: Path) -> None:
    given = (samples / "x.npy").read_bytes()
    child = start("softmax", "-", "--input-format", "npy", stdin=subprocess.PIPE, cwd=samples)
    out, err = child.communicate(given, timeout=300)
    assert (child.returncode, err) == (0, b"")
    assert out.decode() == run("softmax", str(samples / "x.npy")).out


# --- streams that are not there -----------------------------------------------------------------


@POSIX
@pytest.mark.parametrize(
    "command",
    [
        "loss x.npy y.npy",
        "--version",
        "--help",
        "compare --preset notebook-c",
        "softmax x.npy",
        "list formats",
    ],
)
def test_a_closed_standard_output_is_not_a_success(command: str, samples: Path) -> None:
    done = shell(f"$S {command} >&-", samples)
    assert done.code == 2
    assert done.err == "error: standard output is closed\nhint: redirect it to a file or to /dev/null\n"


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize(("labels", "code"), [("y", 0), ("ignored", 1), ("missing", 2)])
def test_a_closed_standard_error_changes_no_exit_code(labels: str, code: int, samples: Path) -> None:
    done = shell(f"$S loss x.npy {labels}.npy 2>&-", samples)
    assert done.code == code
    assert "bug" not in done.out


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("closed", ["2>&-", "0<&-", "0<&- 2>&-"])
@pytest.mark.parametrize(("name", "code", "grade"), [("good", 0, "accurate"), ("unstable", 1, "unstable")])
def test_code_is_checked_with_closed_streams(name: str, code: int, grade: str, closed: str, samples: Path) -> None:
    target = Path(__file__).parents[2] / "samples" / f"numpy_softmax.py:{name}"
    done = shell(f"$S check {target} --format float32 --only large-logits --no-search {closed}", samples)
    assert done.code == code
    assert f"is {grade} in" in " ".join(done.out.split())


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("command", ["softmax long.npy", "softmax long.npy --output-format ndjson"])
def test_a_reader_that_leaves_ends_the_program_quietly_with_141(command: str, samples: Path) -> None:
    done = shell(f"set -o pipefail; $S {command} | head -1", samples)
    assert done.err == ""
    assert done.out.count("\n") == 1
    assert done.code == 141


@pytest.mark.slow
@POSIX
def test_a_reader_that_never_reads_ends_a_short_output_with_141_too(samples: Path) -> None:
    # The output fits into the pipe's buffer, and breaks when it is flushed at the end.
    done = shell("set -o pipefail; $S compare --preset notebook-c | (exec <&-; sleep 3)", samples)
    assert (done.code, done.err) == (141, "")


@pytest.mark.slow
@FULL
@pytest.mark.parametrize("command", ["loss x.npy y.npy", "softmax long.npy", "--help", "--version"])
def test_a_full_disk_is_an_error(command: str, samples: Path) -> None:
    done = shell(f"$S {command} > /dev/full", samples)
    assert done.code == 2
    assert done.err == f"error: {UNWRITTEN} (No space left on device)\nhint: make room, or write elsewhere\n"


@pytest.mark.slow
@FULL
@pytest.mark.parametrize("command", ["loss x.npy y.npy", "softmax x.npy", "--version"])
def test_a_full_disk_is_told_where_nothing_is_buffered(command: str, samples: Path) -> None:
    done = shell(f"export PYTHONUNBUFFERED=1; $S {command} > /dev/full", samples)
    assert (done.code, done.err.splitlines()[0]) == (2, f"error: {UNWRITTEN} (No space left on device)")


@pytest.mark.slow
@FULL
def test_a_full_disk_is_told_also_where_a_check_failed(samples: Path) -> None:
    done = shell("$S loss x.npy y.npy --max-loss 0.01 > /dev/full", samples)
    assert (done.code, UNWRITTEN in done.err) == (2, True)


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("generate --rows 2000 --classes 1000 -o {0}/g.npy --labels {0}/l.npy", "g.npy: cannot be written"),
        ("generate --rows 2000 --classes 1 -o {0}/g.npy --labels {0}/l.npy", "g.npy: cannot be written"),
        ("generate --rows 2000 --classes 100 -o {0}/g.csv", "g.csv: cannot be written"),
        ("softmax long.npy > {0}/o.csv", "standard output cannot be written"),
        ("softmax long.npy --output-format ndjson > {0}/o.csv", "standard output cannot be written"),
        ("softmax long.npy -o {0}/o.csv", "o.csv: cannot be written"),
    ],
)
def test_what_does_not_fit_is_told_with_its_name_and_reason(
    command: str, told: str, samples: Path, tmp_path: Path
) -> None:
    # No file may be longer than 8 kB; and what a disk says that is full comes the same way.
    # Python would cut off the bytecode that it writes, too, and trip over it ever after.
    done = shell(f"ulimit -f 8; export PYTHONDONTWRITEBYTECODE=1; $S {command.format(tmp_path)}", samples)
    assert done.code == 2
    assert f"{told} (File too large)\nhint: " in done.err
    assert [p.name for p in tmp_path.iterdir()] == (["o.csv"] if ">" in command else [])


@POSIX
def test_standard_output_is_not_replaced_by_a_file_of_its_name(samples: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    line = f"{{ echo before; $S list formats -o /dev/stdout || echo $?; }} > {log}"
    assert "is not a regular file\nhint: leave -o out" in shell(line, samples).err
    assert log.read_text() == "before\n2\n"


@pytest.mark.slow
@POSIX
def test_what_standard_input_is_read_from_is_not_replaced(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes((samples / "x.npy").read_bytes())
    done = shell("$S softmax - -o x.npy --force < x.npy", tmp_path)
    assert (done.code, done.err) == (2, "error: x.npy: is an input, too\nhint: give -o another name\n")
    assert (tmp_path / "x.npy").read_bytes() == (samples / "x.npy").read_bytes()


# --- interrupts ---------------------------------------------------------------------------------


LONG = ("compare", "--rows", "4000", "--classes", "1000", "--judge", "all")


@pytest.mark.slow
@POSIX
def test_an_interrupt_ends_a_long_comparison_with_130_and_nothing_on_standard_output() -> None:
    # During the start, the imports, and the work; all at once, so that the test takes no longer than one.
    began = time.monotonic()
    children = [(delay, start(*LONG)) for delay in (0.2, 0.5, 1.0, 2.0)]
    ended = []
    try:
        for delay, child in children:
            time.sleep(max(0.0, began + delay - time.monotonic()))
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=300)
            ended.append((child.returncode, out, err))
    finally:
        for _, child in children:
            child.kill()
            child.communicate()
    # Before the first line of ours runs, Python itself answers, with its own traceback.
    pythons = (b"init_import_site", b"Could not import runpy module")
    ours = [e for e in ended if e[0] != -signal.SIGINT and not any(text in e[2] for text in pythons)]
    assert ours == [(130, b"", b"")] * len(ours)
    assert ours, "not even after two seconds"


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("module", ["typer", "numpy", "stablemax.cli.app", "flint", "rich.console"])
def test_an_interrupt_during_an_import_shows_no_traceback(module: str, tmp_path: Path) -> None:
    # The module interrupts itself the moment that it is imported.
    hook = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['stablemax', 'compare', '--preset', 'notebook-c']\n"
        "import runpy; runpy.run_module('stablemax', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", hook], capture_output=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize(
    ("signal_raises", "then", "code"),
    [
        ("KeyboardInterrupt", "RuntimeError('Error calling __set_name__') from error", 130),
        ("m.EndedBySignal(15)", "RuntimeError('cannot release un-acquired lock')", 143),
        ("KeyboardInterrupt", "m.StablemaxError('x.npy: cannot be read') from None", 130),
    ],
)
def test_a_signal_that_another_error_was_made_of_ends_the_program_with_its_code(
    signal_raises: str, then: str, code: int
) -> None:
    # Python does so where a class is made, and where a lock is released that an interrupt took away.
    program = (
        "import sys, stablemax.cli.main as m\n"
        "def interrupted():\n"
        f"    try: raise {signal_raises}\n"
        f"    except BaseException as error: raise {then}\n"
        "m._check_memory = interrupted\n"
        "sys.argv = ['stablemax', 'compare']\n"
        "m.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


@pytest.mark.slow
@POSIX
def test_an_interrupt_while_a_file_is_written_leaves_none(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", np.zeros((20000, 50)))
    child = start("softmax", "big.npy", "-o", "p.csv", cwd=tmp_path)
    try:
        deadline = time.monotonic() + 300
        while len(list(tmp_path.iterdir())) == 1 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(list(tmp_path.iterdir())) == 2, "the temporary file never came"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=300)
    finally:
        child.kill()
        child.communicate()
    assert (child.returncode, err) == (130, b"")
    assert [p.name for p in tmp_path.iterdir()] == ["big.npy"]
