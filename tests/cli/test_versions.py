"""What --version prints, and with --verbose."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from stablemax.cli.versions import OPTIONAL, REQUIRED

from .running import assert_refused, run

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("words", ["--version -v", "-v --version", "-V --verbose", "-Vv", "-vV"])
def test_verbose_adds_what_a_report_of_a_bug_needs(words: str) -> None:
    done = run(*words.split())
    assert (done.code, done.err) == (0, "")
    first, *lines = done.out.splitlines()
    assert f"{first}\n" == run("--version").out
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in lines)
    assert facts["Python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert facts["processor"]
    assert int(facts["cores"]) >= 1
    assert {name: facts[name] for name in REQUIRED} == {name: version(name) for name in REQUIRED}
    for name in OPTIONAL:
        assert name in facts or name in facts["not installed"].split(", ")


def test_every_package_of_the_project_is_looked_for() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name not in ("test", "dev")}
    needed = {
        re.split(r"[\[<>=]", text)[0] for text in (*project["dependencies"], *(n for e in extras.values() for n in e))
    }
    assert needed - {"stablemax"} <= {*REQUIRED, *OPTIONAL}


def test_no_library_is_imported_for_it() -> None:
    script = (
        "import sys; from stablemax.cli.versions import version_text; version_text(['--version', '-v']); "
        "print({'numpy', 'rich', 'typer', 'torch', 'jax', 'scipy', 'pyarrow', 'dask'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_with_a_command_there_is_no_version_to_print() -> None:
    assert_refused(run("-v", "list", "presets"), "stablemax --version --verbose")
