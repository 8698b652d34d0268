"""What the tab key offers."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from stablemax.cli.completion import number_formats
from stablemax.cli.main import _run
from stablemax.hazards.catalogue import HAZARDS
from stablemax.hazards.presets import PRESETS
from stablemax.numerics.format_names import ORDINARY
from stablemax.numerics.formats import FORMATS
from stablemax.operations import NAMES
from stablemax.operations.variant import variants

from .running import environment

CODE = """\
raise SystemExit("this file is read, and never run")
def softmax(x): ...
def loss(x, y): ...
def _helper(x): ...
class Focal: ...
"""


def offered(line: str, monkeypatch: pytest.MonkeyPatch, shell: str = "bash") -> list[str]:
    """What a shell gets whose cursor stands at the end of a line."""
    words = line.split()
    monkeypatch.setenv("_STABLEMAX_COMPLETE", f"complete_{shell}")
    if shell == "bash":
        # It splits at colons too.
        words = [w for word in words for w in word.replace(":", " : ").split()]
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) if line.endswith(" ") else len(words) - 1))
    else:
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setattr(sys, "argv", ["stablemax"])
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        assert _run() == 0
    return out.getvalue().split()


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(CODE, encoding="utf-8")
    Path("other.py").write_text("def softmin(x): ...\n", encoding="utf-8")
    Path("notes.txt").write_text("", encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("compare --preset ", list(PRESETS)),
        ("loss --preset notebook-e", ["notebook-e", "notebook-e-small"]),
        ("trace my.py:softmax --hazard ", list(HAZARDS)),
        ("check my.py:softmax --only one-", [name for name in HAZARDS if name.startswith("one-")]),
        ("check my.py:f --operation no", ["none"]),
        ("trace my.py:f --operation no", ["none"]),
        ("judge --operation log", [name for name in NAMES if name.startswith("log")]),
        ("list variants s", [name for name in NAMES if name.startswith("s")]),
        ("list ha", ["hazards"]),
        ("compare --format b", ["bfloat16"]),
        ("softmax --variant tile", ["tiled"]),
        ("compare --variant softmax/", [v.id for v in variants(None) if v.id.startswith("softmax/")]),
        ("explain kl_divergence/n", ["kl_divergence/naive"]),
        ("check sigmoid/n", ["sigmoid/naive"]),
        ("compare --output-format j", ["json", "junit"]),
        ("loss - --input-format np", ["npy", "npz"]),
        ("compare --peer ", ["torch", "jax", "scipy", "all"]),
        ("compare --color a", ["auto", "always"]),
        ("check --require ", ["stable", "accurate"]),
        ("inspect --fail-on na", ["nan"]),
        ("help kl", ["kl-divergence"]),
        ("bce", ["bce", "bce-grad"]),
    ],
)
def test_names_are_offered_where_they_are_asked_for(
    line: str, expected: list[str], code: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = offered(f"stablemax {line}", monkeypatch)
    assert expected
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_functions_of_a_file_are_offered_and_the_file_is_not_run(
    shell: str, code: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = "" if shell == "bash" else "my.py:"
    for line, expected in (
        ("check my.py:", ["softmax", "loss", "Focal"]),
        ("trace my.py:so", ["softmax"]),
        ("check my.py:_", ["_helper"]),
        ("check notes.txt:", []),
        ("check missing.py:", []),
    ):
        assert offered(f"stablemax {line}", monkeypatch, shell) == [f"{before}{name}" for name in expected], line


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        ("", ["my.py", "other.py"]),
        ("m", ["my.py:softmax", "my.py:loss", "my.py:Focal"]),
        ("other.py", ["other.py:softmin"]),
        ("./o", ["./other.py:softmin"]),
        ("n", []),
    ],
)
def test_files_of_code_are_offered_and_of_a_single_one_its_functions(
    begun: str, expected: list[str], code: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offered(f"stablemax check {begun}", monkeypatch) == expected


def test_the_formats_that_are_offered_exist_and_the_ordinary_ones_are_among_them() -> None:
    assert set(ORDINARY) <= set(number_formats()) <= set(FORMATS)


def test_presets_formats_and_operations_are_offered_without_numpy() -> None:
    script = (
        "import sys\nfrom stablemax.cli.main import _run\n"
        "try: _run()\nfinally: print({'numpy', 'rich'} & set(sys.modules))"
    )
    asked = {"_STABLEMAX_COMPLETE": "complete_bash", "COMP_WORDS": "stablemax compare --preset n", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(**asked),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.split("\n")[-2:] == ["set()", ""], done
    assert "notebook-a\n" in done.stdout


def test_a_quote_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered("stablemax compare --preset 'note", monkeypatch) == list(PRESETS)
