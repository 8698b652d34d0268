"""A plugin's records, found by everything that finds ours; it is installed as packages are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"
WARNING = "warning: plugin unfinished (stablemax_unfinished) cannot be imported: RuntimeError: not finished\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example in it: its modules, and the metadata that pip would write."""
    folder = tmp_path_factory.mktemp("site-packages")
    for module in PLUGIN.glob("*.py"):
        shutil.copy(module, folder)
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"stablemax_example-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, points in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def run(site: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run the command line where the plugin is installed, in an empty folder with a few logits."""
    (tmp_path / "x.vec").write_text("-90\n-1\n2\n")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n\n\ndef silu(x):\n    e = np.exp(-np.abs(x))\n"
        "    return np.where(x < 0, x * e, x) / (1 + e)\n\n\ndef naive_silu(x):\n    return x / (1 + np.exp(-x))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}

    def call(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "stablemax", *arguments], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=False, timeout=300, encoding="utf-8",
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return call


@pytest.mark.slow
def test_compare_runs_an_operation_a_file_format_and_a_number_format_of_a_plugin(run) -> None:  # type: ignore[no-untyped-def]
    said = run(
        "compare", "x.vec", "--operation", "silu", "--format", "fp24", "--format", "float32", "--output-format", "json"
    )
    result = json.loads(said[: said.rindex("}") + 1])
    worst = {(v["variant"], v["format"]): v["worst"] for r in result["reports"] for v in r["verdicts"]}
    assert worst == {
        ("silu/naive", "fp24"): "lost",
        ("silu/by-sign", "fp24"): "ok",
        ("silu/naive", "float32"): "lost",
        ("silu/by-sign", "float32"): "ok",
    }


@pytest.mark.slow
def test_compare_runs_a_variant_and_a_library_of_a_plugin(run) -> None:  # type: ignore[no-untyped-def]
    said = run("compare", "x.vec", "--operation", "softmax", "--peer", "stablemax_example", "--format", "float32",
               "--output-format", "csv")  # fmt: skip
    assert "softmax/mean-shifted" in said
    assert "stablemax_example/softmax" in said


@pytest.mark.slow
def test_check_finds_the_operation_by_a_functions_name_and_judges_it_on_the_plugins_hazard(run) -> None:  # type: ignore[no-untyped-def]
    few = ("--format", "float32", "--only", "far-left-cells", "--only", "gentle", "--no-search")
    assert "is accurate in" in run("check", "mine.py:silu", *few)
    said = run("check", "mine.py:naive_silu", *few, "--require", "accurate", code=1)
    assert "far-left-cells" in said
    assert "silu/by-sign" in said


@pytest.mark.slow
def test_judge_trace_list_and_explain_know_the_plugins_records(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "out.vec").write_text("-7.374611361591464e-38\n-0.2689414213699951\n1.7615941559557649\n")
    assert "is silu as it should be" in run("judge", "x.vec", "out.vec", "--operation", "silu")
    assert "exp" in run("trace", "mine.py:naive_silu", "x.vec", "--format", "float32", code=1)
    assert "silu/by-sign" in run("list", "variants")
    assert "fp24" in run("list", "formats")
    assert "far-left-cells" in run("list", "hazards")
    assert "subtracted instead of the maximum" in run("explain", "softmax/mean-shifted")
    assert "A gate multiplies a logit by its probability." in run("explain", "gating")
    assert "silu/naive" in run("explain", "silu")


@pytest.mark.slow
def test_a_plugins_writer_writes_and_its_ending_chooses_it(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run("list", "formats", "-o", "formats.org")
    assert (tmp_path / "formats.org").read_text(encoding="utf-8").startswith("|")
    assert run("list", "formats", "--output-format", "org").startswith("|")


@pytest.mark.slow
def test_a_plugin_that_cannot_be_imported_is_one_warning_and_nothing_else_stops(run) -> None:  # type: ignore[no-untyped-def]
    said = run("list", "variants")
    assert said.count("warning:") == 1
    assert WARNING in said
