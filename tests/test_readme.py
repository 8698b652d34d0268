"""The README and the guide: every command in them runs, and gives what the page shows.

`python -m tests.test_readme` writes what the commands print now into the pages.
"""

from __future__ import annotations

import doctest
import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stablemax.operations import all_operations, get_operation

from .test_images import COMMANDS

if TYPE_CHECKING:
    from .cli.running import Done

ROOT = Path(__file__).parents[1]
README, GUIDE = ROOT / "README.md", ROOT / ".github" / "GUIDE.md"
PAGES = {page: page.read_text(encoding="utf-8") for page in (README, GUIDE)}
PAGE = "\n".join(PAGES.values())
ELLIPSIS = "..."

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the page's commands are for a POSIX shell")


def fenced(language: str, page: str = PAGE) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)


def commands_in(block: str) -> list[tuple[str, str]]:
    """Commands of a console block, each with the output that is shown under it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert parts[0] == "", "a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def inline_commands(page: str = PAGE) -> list[str]:
    """Commands in the running text, left out those in tables."""
    prose = re.sub(r"^```.*?^```$|^\|.*?$", "", page, flags=re.DOTALL | re.MULTILINE)
    return [code for code in re.findall(r"`([^`]+)`", prose) if code.startswith(("stablemax ", "python "))]


def notebook_rows(page: str = PAGE) -> list[tuple[str, list[str]]]:
    """Commands of the table of notebooks, each with the pieces of output that it promises."""
    rows = re.findall(r"^\| [A-E], .* \| `(stablemax .*)` \| (.*) \|$", page, flags=re.MULTILINE)
    return [(command, re.findall(r"`([^`]+)`", result)) for command, result in rows]


def workplace(folder: Path) -> Path:
    """A directory as a reader has it after cloning, as far as the page's commands can tell."""
    shutil.copytree(ROOT / "samples", folder / "samples")
    (folder / "tests").mkdir()
    shutil.copytree(
        ROOT / "tests" / "benchmarks",
        folder / "tests" / "benchmarks",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell as a reader would: 80 columns, no colour, standard error with the rest."""
    foreign = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**kept, "PATH": path, "COLUMNS": "80", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


def run_here(command: str) -> Done:
    """Run a command of stablemax in this process: what a shell makes of it is tested with the console blocks."""
    from .cli.running import run

    program, *arguments = shlex.split(command)
    assert program == "stablemax"
    return run(*arguments, COLUMNS="80")


def without_peers_figures(text: str) -> str:
    """An output with all that other libraries and their versions decide masked: ulps, counts of hazards, widths."""
    masked = re.sub(r"\d+\.\d+\.\d+(\+\w+)?", "VERSION", re.sub(r"\d[\d.e]* ulp", "N ulp", text))
    masked = re.sub(r"(✗ NaN|▲ overflow|∅ lost|≈ inaccurate|◐ stable) \d+ [a-z]", r"\1 N", masked)
    return re.sub(r"(?<=\S) {2,}|─+", " ", masked)


def fits(shown: str, printed: str) -> bool:
    """True where the output is what is shown, a line of three dots standing for any lines."""
    pieces = ["(?:.*\n)*" if line == ELLIPSIS else re.escape(line + "\n") for line in shown.splitlines()]
    return re.fullmatch("".join(pieces), printed) is not None


BLOCKS = fenced("console")
NOTEBOOKS = notebook_rows()
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
PEERS = ("torch", "jax", "optax", "scipy")
needs_peers = pytest.mark.skipif(not all(map(find_spec, PEERS)), reason=f"needs {', '.join(PEERS)}")
MARKS = {
    "jq ": needs_jq,
    "--peer": needs_peers,
    "--backend": needs_peers,
    "samples/torch_": needs_peers,
    "check softmax/wide": pytest.mark.slow,
}


def marks(text: str) -> list[pytest.MarkDecorator]:
    """What a command needs beside stablemax, and whether it takes long."""
    return [mark for part, mark in MARKS.items() if part in text]


@pytest.mark.parametrize(
    "block",
    [pytest.param(b, id=commands_in(b)[0][0], marks=marks(b)) for b in BLOCKS],
)
def test_a_console_block_shows_what_its_commands_print(block: str, tmp_path: Path) -> None:
    folder = workplace(tmp_path)
    for command, shown in commands_in(block):
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        masked = without_peers_figures if "--peer" in command else str
        assert fits(masked(shown), masked(done.stdout)), (
            f"{command}\nprints\n{done.stdout}\nand the page shows\n{shown}"
        )


@pytest.mark.slow
@pytest.mark.parametrize(("command", "pieces"), [pytest.param(c, p, id=c, marks=marks(c)) for c, p in NOTEBOOKS])
def test_a_notebook_command_gives_the_notebooks_numbers(
    command: str, pieces: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_here(command)
    assert done.code == 0, done.err
    assert pieces
    for piece in pieces:
        assert piece in done.out + done.err, done


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=marks(c))
        for c in inline_commands()
        # What a picture is drawn by runs there, to the same exit code.
        if c.startswith("stablemax ") and c.removeprefix("stablemax ") not in COMMANDS.values()
    ],
)
def test_a_command_in_the_text_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if command.startswith("stablemax bench"):
        # The same command on little work: what it prints on this machine is no fact to compare.
        command = re.sub(r" --shape \S+", "", command) + " --shape 8x16 --operation softmax --repeat 1 --peer numpy"
    monkeypatch.chdir(workplace(tmp_path))
    done = run_here(command)
    assert done.code == 0, done.err
    assert done.out + done.err or " -o " in command


@pytest.mark.slow
@pytest.mark.skipif(find_spec("distributed") is None, reason="needs dask")
def test_the_cluster_of_the_page_gives_the_same_digits(tmp_path: Path) -> None:
    folder = workplace(tmp_path)
    (block,) = fenced("bash")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        commands = block.replace("8786", str(free.getsockname()[1])).splitlines()
    prepared, alone = (
        "stablemax generate --rows 60 --classes 500 -o logits.npy --labels labels.npy -q",
        "stablemax loss logits.npy labels.npy",
    )
    assert run(prepared, folder).returncode == 0
    services = [
        subprocess.Popen(
            [str(Path(sys.executable).parent / "dask"), *command.split()[1:]],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in commands[:2]
    ]
    try:
        done = run(commands[2], folder)
    finally:
        for service in reversed(services):
            service.terminate()
        for service in services:
            service.wait(timeout=300)
    assert (done.returncode, done.stdout) == (0, run(alone, folder).stdout)


@pytest.mark.parametrize("command", [c for c in inline_commands() if c.startswith("python ")])
def test_a_script_that_the_text_names_is_there(command: str) -> None:
    assert (ROOT / command.split()[1]).is_file()


@pytest.mark.slow
def test_the_python_session_gives_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace(tmp_path))
    sessions = fenced("pycon")
    assert sessions
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    for number, session in enumerate(sessions):
        assert runner.run(parser.get_doctest(session, {}, f"README {number}", str(README), 0)).failed == 0


def test_the_page_is_found_and_has_blocks_of_every_kind() -> None:
    assert len(BLOCKS) >= 6
    assert len(NOTEBOOKS) >= 8
    assert {row[0] for row in re.findall(r"^\| ([A-E]), ", PAGE, flags=re.MULTILINE)} == set("ABCDE")
    assert len(fenced("sh")) == 3
    assert len(inline_commands()) >= 4


def test_the_first_line_tells_the_two_names_apart() -> None:
    first = PAGES[README].partition("\n")[0]
    assert "stablemax" in first
    assert "StableMax" in first
    assert "2501.04697" in first


def test_the_page_stays_short() -> None:
    assert len(PAGES[README].splitlines()) <= 300


@pytest.mark.slow
def test_the_errors_in_the_page_are_what_the_benchmark_measures() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \|$", PAGE, flags=re.MULTILINE)
    assert [row[0] for row in rows] == [o.name for o in all_operations() if o.timed]
    benchmark = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "accuracy.py"))
    compared, errors = benchmark["compared"], benchmark["errors"]
    for name, *quoted in rows:
        operation = get_operation(name)
        *exact, wide_variant = compared(operation)
        shifted, compensated = errors(exact, "float64", 100, 1000)
        (wide,) = errors([wide_variant], "float32", 100, 1000)
        for text, values in zip(quoted, (shifted, compensated, wide), strict=True):
            measured = None if None in values else max(values)
            if text == "lost" or measured is None:
                assert (text == "lost") is (measured is None), f"{name}: {text}, measured {measured}"
            else:
                # NumPy's exp differs by CPU, and the errors with it.
                assert measured / 1.3 <= float(text) <= 1.3 * measured, f"{name}: {text}, measured {measured}"


def test_every_file_that_the_page_links_or_names_is_there() -> None:
    for page, text in PAGES.items():
        linked = [page.parent / name for name in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)]
        named = [ROOT / name for name in re.findall(r"`((?:samples|tests)/[^` ]*)`", text)]
        assert linked
        for path in (*linked, *named):
            assert path.exists(), path


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n", "a\nb\n", False),
        ("a\n...\n", "a\nb\nc\n", True),
        ("a\n...\nc\n", "a\nb\nc\nd\n", False),
        ("...\nc\n", "c\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_shown_output_fits_only_what_it_shows(*, shown: str, printed: str, expected: bool) -> None:
    assert fits(shown, printed) is expected


def rewritten(page: str) -> str:
    """The page with the output of every console block as it is now; a block with dots stays."""
    for block in fenced("console", page):
        with tempfile.TemporaryDirectory() as folder:
            place = workplace(Path(folder))
            parts = [(command, shown, run(command, place)) for command, shown in commands_in(block)]
        fresh = "".join(
            f"$ {command}\n{shown if ELLIPSIS in shown.splitlines() else done.stdout}" for command, shown, done in parts
        )
        page = page.replace(block, fresh)
    return page


if __name__ == "__main__":
    for path, text in PAGES.items():
        path.write_text(rewritten(text), encoding="utf-8")
