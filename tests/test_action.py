"""The composite action: its steps are run as GitHub would run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent
FILE = ROOT / ".github" / "actions" / "check" / "action.yml"
NEEDS_BASH = pytest.mark.skipif(os.name == "nt" or shutil.which("bash") is None, reason="bash is not installed")
EXPRESSION = re.compile(r"\$\{\{\s*inputs\.([\w-]+)\s*\}\}")


def action() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def steps() -> list[dict[str, Any]]:
    return list(action()["runs"]["steps"])


def step(name: str) -> dict[str, Any]:
    (found,) = (s for s in steps() if s.get("name") == name)
    return found


def executable(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    path.chmod(0o755)


def run(name: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step in a folder, its environment filled in from the inputs; executables of `folder/bin` come first."""
    defaults = {key: str(value.get("default", "")) for key, value in action()["inputs"].items()}
    given = defaults | {key.replace("_", "-"): value for key, value in inputs.items()}
    found = step(name)
    variables = {key: EXPRESSION.sub(lambda m: given[m[1]], value) for key, value in found["env"].items()}
    script = folder / "script.sh"
    script.write_text(found["run"], encoding="utf-8")
    environment = (
        os.environ
        | variables
        | {
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": str(FILE.parent),
            "GITHUB_WORKSPACE": str(folder),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_ACTIONS": "true",
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONUTF8": "1",
        }
    )
    # What a runner does with `shell: bash`.
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def told(folder: Path) -> list[str]:
    """The arguments that the stand-in was given."""
    return (folder / "arguments").read_text(encoding="utf-8").split("\0")[:-1]


# --- what it says --------------------------------------------------------------------------------


def test_no_script_has_an_input_in_its_text() -> None:
    assert [s for s in steps() if "${{" in s.get("run", "")] == []
    assert sum("run" in s for s in steps()) == 2


def test_every_input_is_described_and_used() -> None:
    inputs = action()["inputs"]
    text = FILE.read_text(encoding="utf-8")
    used = set(EXPRESSION.findall(text)) | set(re.findall(r"if: inputs\.([\w-]+)", text))
    assert used == set(inputs)
    assert all(value["description"] for value in inputs.values())
    assert [key for key, value in inputs.items() if "default" not in value] == ["target"]
    assert inputs["target"]["required"] is True


def test_other_actions_are_pinned_to_a_major_version_and_scripts_name_their_shell() -> None:
    for one in steps():
        if "uses" in one:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", one["uses"])
        else:
            assert one["shell"] == "bash"


def test_every_variable_of_the_check_is_read_by_its_script() -> None:
    found = step("Check")
    assert set(re.findall(r'"\$([A-Z_]+)"', found["run"])) == set(found["env"])


# --- what it runs --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorder = f"printf '%s\\0' \"$@\" >'{tmp_path}/arguments'"
    executable(tmp_path / "bin" / "stablemax", recorder, 'exit "${STAND_IN_CODE:-0}"')
    executable(tmp_path / "bin" / "python", recorder)
    return tmp_path


@NEEDS_BASH
def test_a_target_alone_is_checked_with_nothing_else_said(folder: Path) -> None:
    done = run("Check", folder, target="model.py:softmax")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert told(folder) == ["check", "--output-format=github", "--", "model.py:softmax"]


@NEEDS_BASH
def test_every_input_becomes_an_option_and_lists_one_for_each_word(folder: Path) -> None:
    run(
        "Check",
        folder,
        target="m:f",
        operation="softmax",
        backend="torch",
        format="float16  bfloat16\nfloat32\n",
        max_ulp="8",
        allow="lost",
        only="offset-* \n *-tie",
        **{"with": "weights ignore-index"},
        timeout="2.5",
    )
    assert told(folder) == [
        *("check", "--output-format=github", "--operation=softmax", "--backend=torch"),
        *("--format=float16", "--format=bfloat16", "--format=float32", "--max-ulp=8", "--allow=lost"),
        *("--only=offset-*", "--only=*-tie", "--with=weights", "--with=ignore-index", "--timeout=2.5"),
        *("--", "m:f"),
    ]


@NEEDS_BASH
@pytest.mark.parametrize(
    "hostile",
    [
        "a b.py:f",
        "$(touch owned):f",
        "`touch owned`",
        '"; touch owned; "',
        "--output=owned",
        "*",
        "$HOME/x.py:f",
        "a'b\\c:f",
        "${{ inputs.target }}",
    ],
)
def test_an_input_is_never_code_nor_an_option(folder: Path, hostile: str) -> None:
    (folder / "offset-file").touch()
    before = {path.name for path in folder.iterdir()}
    done = run("Check", folder, target=hostile, operation=hostile, only="offset-* $(touch owned)", max_ulp="*")
    assert done.returncode == 0, done.stderr
    assert told(folder) == [
        *("check", "--output-format=github", f"--operation={hostile}", "--max-ulp=*"),
        *("--only=offset-*", "--only=$(touch", "--only=owned)", "--", hostile),
    ]
    assert {path.name for path in folder.iterdir()} == before | {"arguments", "script.sh"}


@NEEDS_BASH
@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_exit_code_is_that_of_the_check(folder: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_CODE", str(code))
    assert run("Check", folder, target="m:f").returncode == code


@NEEDS_BASH
@pytest.mark.parametrize(("extras", "ending"), [("", ""), ("torch,jax", "[torch,jax]")])
def test_stablemax_is_installed_from_where_the_action_is(folder: Path, extras: str, ending: str) -> None:
    assert run("Install stablemax", folder, extras=extras).returncode == 0
    *options, source = told(folder)
    assert options == ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    assert source.endswith(ending)
    assert Path(source.removesuffix(ending)).resolve() == ROOT


# --- for real ------------------------------------------------------------------------------------

SOFTMAX = """
import numpy as np

def naive(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)
"""


@pytest.mark.slow
@NEEDS_BASH
def test_an_unstable_softmax_fails_the_step_with_annotations_and_a_summary(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "stablemax", f"exec '{sys.executable}' -m stablemax \"$@\"")
    (tmp_path / "model.py").write_text(SOFTMAX, encoding="utf-8")
    done = run("Check", tmp_path, target="model.py:naive", operation="softmax", format="float32", only="large-logits")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("::error file=model.py,line=5,title=stablemax%3A verdict::model.py:naive is unstable")
    assert lines[1].startswith("::error title=stablemax%3A large-logits::large-logits in float32: unstable, NaN%0A")
    assert lines[-1].startswith("stablemax: model.py:naive is unstable")
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## stablemax check model.py:naive\n")
    assert "| large-logits | ✗ NaN |" in summary


@pytest.mark.slow
@NEEDS_BASH
def test_a_softmax_that_holds_passes_the_step(tmp_path: Path) -> None:
    executable(tmp_path / "bin" / "stablemax", f"exec '{sys.executable}' -m stablemax \"$@\"")
    (tmp_path / "summary.md").write_text("earlier\n", encoding="utf-8")
    done = run("Check", tmp_path, target="softmax/wide", format="float32", only="large-* masked-*")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stablemax: ")
    assert done.stdout.count("\n") == 1
    assert (
        (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("earlier\n## stablemax check softmax/wide\n")
    )
