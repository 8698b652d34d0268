"""`compare` with other libraries, hazards and the league, as a user runs it."""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from stablemax.hazards.catalogue import HAZARDS
from stablemax.operations import default_operations
from stablemax.results import Outcome

from .running import Done, assert_refused, process, run, strict_json

SCHEMA = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
# Small enough to be run often: the losses in two formats.
LEAGUE = ("compare", "--hazards", "--operation", "cross_entropy", "--format", "float16", "--format", "float32")


@functools.cache
def told() -> Done:
    """The small league as JSON."""
    return run(*LEAGUE, "--output-format", "json", "-q")


def need(*libraries: str) -> None:
    for library in libraries:
        pytest.importorskip(library, reason=f"{library}'s own built-ins are run")


def complaints(kind: str, document: Any) -> list[str]:
    validator = Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]


@pytest.mark.parametrize("peer", ["torch", "jax", "scipy"])
def test_a_peer_adds_its_rows_beside_ours(peer: str) -> None:
    need(peer)
    command = ("compare", "--hazard", "nearly-certain", "--peer", peer, "--operation", "log_softmax")
    done = run(*command, "--variant", "shifted", "--format", "float32", "--output-format", "json")
    assert (done.code, done.err) == (0, "")
    assert complaints("comparison", done.json) == []
    verdicts = done.json["reports"][0]["verdicts"]
    assert [(v["variant"], v["worst"]) for v in verdicts] == [
        ("log_softmax/shifted", "lost"),
        (f"{peer}/log_softmax", "lost"),
    ]
    assert verdicts[1]["accumulation"] == "library"
    assert peer in done.json["libraries"]
    assert "gives 0 where -4.2483" in verdicts[1]["cause"]


def test_a_pattern_that_names_a_built_in_chooses_among_them() -> None:
    need("scipy")
    command = ("compare", "--scale", "3", "--peer", "scipy", "--variant", "scipy/softmax", "--output-format", "json")
    (report,) = run(*command, "-q").json["reports"]
    assert {v["variant"] for v in report["verdicts"]} == {"scipy/softmax"}


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_backend_runs_our_variants_on_its_arrays(backend: str) -> None:
    need(backend, "array_api_compat")
    command = ("compare", "--hazard", "large-logits", "--backend", backend, "--device", "cpu", "--format", "float32")
    done = run(*command, "--operation", "softmax", "--variant", "naive", "--variant", "shifted")
    assert (done.code, done.err) == (0, "")
    assert f"our variants run on {backend} arrays on cpu" in " ".join(done.out.split())
    assert "sums: float32 as the library adds" in done.out
    document = run(*shlex.split(reproduced(done.out))[1:], "--output-format", "json").json
    assert complaints("comparison", document) == []
    assert (document["backend"], document["device"]) == (backend, "cpu")
    assert [v["worst"] for v in document["reports"][0]["verdicts"]] == ["nan", "ok"]


def reproduced(out: str) -> str:
    return next(t.removeprefix("reproduce: ") for t in out.splitlines() if t.startswith("reproduce: "))


def test_a_hazard_is_an_input_in_each_format() -> None:
    command = ("compare", "--hazard", "logit-above-exp-overflow", "--operation", "softmax", "--variant", "naive")
    done = run(*command)
    assert (done.code, done.err) == (0, "")
    for logit in ("11.0938", "709.783"):
        assert logit in run(*command, "--details").out
    assert "input: hazard logit-above-exp-overflow: the first logit" in done.out
    assert reproduced(done.out) == " ".join(["stablemax", *command])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(HAZARDS))
def test_every_hazard_of_the_catalogue_is_an_input(name: str) -> None:
    done = run("compare", "--hazard", name, "--variant", "wide", "--format", "float32", "--output-format", "json")
    assert (done.code, done.err) == (0, "")
    assert complaints("comparison", done.json) == []
    reported = {r["operation"] for r in done.json["reports"]}
    concerned = HAZARDS[name].operations
    assert reported == ({o.name for o in concerned if o.by_default} or {o.name for o in concerned})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--hazard", "nearly-certan"), ("no hazard 'nearly-certan'", "did you mean nearly-certain?")),
        (("--hazard", "gentle", "--hazards"), ("--hazard is one hazard",)),
        (("--hazards", "--scale", "3"), ("--scale does not go with --hazards",)),
        (("--hazard", "gentle", "--preset", "notebook-c"), ("--preset does not go with --hazard",)),
        (("x.npy", "--hazards"), ("--hazards is the input, and a file is given",)),
        (("--hazards", "--judge", "3"), ("--judge does not go with --hazards",)),
        (("--hazards", "--show-values", "2"), ("--show-values does not go with --hazards",)),
        (("--hazard", "gentle", "--upstream", "mean"), ("--upstream does not go with --hazard",)),
        (("--hazard", "gentle", "--axis", "1"), ("--axis does not go with --hazard",)),
        (("--hazard", "gentle", "--variant", "nope"), ("no variant of softmax", "list variants")),
        (("--device", "cuda"), ("--device is for other libraries", "--backend torch")),
        (("--peer", "tensorflow"), ("there is no library 'tensorflow'", "torch, jax, scipy, all")),
        (("--backend", "trch"), ("'trch'", "compare --help")),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run("compare", *arguments), *words)


@pytest.mark.parametrize("option", ["--peer", "--backend"])
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_an_impossible_device_is_a_mistake_with_a_hint(library: str, option: str) -> None:
    need(library, "array_api_compat")
    assert_refused(run("compare", option, library, "--device", "nonsense"), f"{library} has no device 'nonsense' here")


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [
        (("--peer", "torch"), "torch", "torch"),
        (("--peer", "jax"), "jax", "jax"),
        (("--backend", "jax"), "jax", "jax"),
        (("--backend", "torch"), "torch", "torch"),
        (("--backend", "torch"), "array_api_compat", "all"),
    ],
)
def test_a_missing_library_is_a_mistake_with_its_install_line(
    arguments: tuple[str, ...], missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == missing else find(name, *a))
    if missing == "array_api_compat":
        need("torch")
    done = run("compare", *arguments)
    assert_refused(done, f"{missing} is not installed", f'pip install "stablemax[{extra}]"')


def test_all_names_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    need("scipy")
    find = importlib.util.find_spec
    gone = {"torch", "jax", "optax"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in gone else find(name, *a))
    done = run("compare", "--scale", "2", "--peer", "all", "--operation", "softmax", "--format", "float32")
    assert done.code == 0
    notes = [line for line in done.err.splitlines() if "not installed and left out" in line]
    assert [n.split()[1] for n in notes] == ["torch", "jax", "optax"]
    assert "scipy/softmax" in done.out


@pytest.mark.slow
def test_the_league_says_the_same_in_every_format() -> None:
    whole = told()
    assert (whole.code, whole.err) == (0, "")
    document = whole.json
    assert complaints("league", document) == []
    assert Draft202012Validator(SCHEMA).is_valid(document)
    by_default = default_operations()
    assert document["hazards"] == [n for n, h in HAZARDS.items() if any(map(h.concerns, by_default))]
    lines = [strict_json(t) for t in run(*LEAGUE, "--output-format", "ndjson", "-q").out.splitlines()]
    assert [complaints("standout", record) for record in lines] == [[]] * len(document["standouts"])
    rows = list(csv.DictReader(io.StringIO(run(*LEAGUE, "--output-format", "csv", "-q").out, newline="")))
    for standout, record, row in zip(document["standouts"], lines, rows, strict=True):
        assert {k: record[k] for k in standout} == standout
        assert float(row["error_ulp"]) == standout["error_ulp"]
        assert row["failed"].split() == standout["failed"]
        assert (row["worst"], row["worst_hazard"]) == (standout["worst"], standout["worst_hazard"])
    plain = [t.split("\t") for t in run(*LEAGUE, "--output-format", "plain", "-q").out.splitlines()]
    assert {len(cells) for cells in plain} == {len(rows[0])}
    table = [t for t in run(*LEAGUE, "--output-format", "markdown", "-q").out.splitlines() if t.startswith("|")]
    assert {t.count("|") for t in table} == {4}
    assert len(table) == 2 + len(document["standouts"]) / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "encoding"),
    [*((w, "utf-8") for w in ("40", "43", "44", "45", "80", "200")), ("44", "ascii"), ("80", "ascii")],
)
def test_the_league_is_never_cut(width: str, encoding: str) -> None:
    # Both formats need 45 columns: one less, and they stand below each other.
    done = run(*LEAGUE, "-q", encoding=encoding, COLUMNS=width)
    assert done.code == 0
    assert "…" not in done.out
    lines = [t for t in done.out.splitlines() if not t.startswith("reproduce: ")]
    assert max(map(len, lines)) <= int(width)
    for s in told().json["standouts"]:
        if s["grade"] == "stable":
            assert re.search(rf"\bstable {len(s['stable'])} [a-z]+", done.out)
        elif s["worst"] in ("lost", "overflow", "nan"):
            assert re.search(rf"\b{ {'nan': 'NaN'}.get(s['worst'], s['worst']) } {len(s['failed'])} [a-z]+", done.out)
            assert s["worst_hazard"] in done.out.replace("\n", " ").replace("  ", " ")


@pytest.mark.slow
def test_details_name_every_failed_hazard() -> None:
    out = run(*LEAGUE, "-q", "--details", COLUMNS="2000").out
    for s in told().json["standouts"]:
        title = f"{s['implementation']} in {s['format']}: {s['grade']}"
        assert f"{title}; {len(s['failed'])} of {s['judged']} hazards failed" in out
        for outcome, names in s["outcomes"].items():
            if Outcome(outcome).is_failure:
                assert ", ".join(names) in out


@pytest.mark.slow
def test_the_line_below_the_league_reproduces_it() -> None:
    command = (*LEAGUE, "--variant", "shifted", "--max-ulp", "2.5", "--reduction", "sum")
    first = run(*command, "-q", "--output-format", "json")
    _, *again = shlex.split(reproduced(run(*command, "-q").out))
    assert run(*again, "-q", "--output-format", "json").out == first.out
    assert again == first.json["command"][1:]


@pytest.mark.parametrize(("fail_on", "code"), [("lost", 1), ("nan,lost", 1), ("undefined", 1), ("nan", 0)])
def test_fail_on_looks_at_every_hazard(fail_on: str, code: int) -> None:
    command = ("compare", "--hazards", "--operation", "cross_entropy", "--variant", "shifted", "--format", "float32")
    done = run(*command, "-q", "--fail-on", fail_on)
    assert done.code == code
    if code and "lost" in fail_on:
        assert re.search(r"cross_entropy/shifted in float32: lost under .*\bcollapse\b", done.err)
    if not code:
        assert done.err == ""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["junit", "github"])
def test_the_league_is_written_for_ci(how: str) -> None:
    done = run(*LEAGUE, "-q", "--output-format", how, "--fail-on", "overflow")
    assert done.code == 1
    assert "cross_entropy/naive" in done.out


@pytest.mark.slow
def test_the_league_of_all_names_the_versions_and_who_fails() -> None:
    need("torch", "jax", "optax", "scipy")
    done = run(
        *("compare", "--peer", "all", "--hazards", "--operation", "cross_entropy", "--format", "float32"),
        *("--output-format", "json", "-q"),
    )
    assert (done.code, done.err) == (0, "")
    assert complaints("league", done.json) == []
    assert set(done.json["libraries"]) == {"torch", "jax", "optax", "scipy"}
    found = {s["implementation"]: s for s in done.json["standouts"]}
    # pytorch 11752 against optax PR 1792: equal logits at 1e8.
    assert "large-offset-tie" in found["optax/cross_entropy"]["failed"]
    assert "large-offset-tie" not in found["torch/cross_entropy"]["failed"]
    for name in ("torch/cross_entropy", "optax/cross_entropy"):
        assert "soft-zero-at-neg-inf" in found[name]["failed"]
        assert {"nearly-certain", "collapse"} <= set(found[name]["stable"])
        assert (found[name]["worst"], found[name]["worst_hazard"]) == ("nan", "soft-zero-at-neg-inf")
    assert found["cross_entropy/compensated"]["failed"] == []
    assert "2 of 2 built-ins fail on a hazard." in done.json["finding"]
    assert any("optax/cross_entropy was not run on" in note for note in done.json["notes"])


def test_a_built_in_is_explained_like_a_variant() -> None:
    need("torch")
    done = run("explain", "torch/cross_entropy", "--output-format", "json")
    assert (done.code, done.err) == (0, "")
    assert done.json["formula"] == "torch.nn.functional.cross_entropy(x, y)"
    assert done.json["example"]["outcome"] == "lost"
    assert_refused(run("explain", "torch/cros_entropy"), "did you mean torch/cross_entropy")


@pytest.mark.slow
def test_a_plain_comparison_imports_no_other_library(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['stablemax', 'compare', '--scale', '1e5', '-o', 'out.txt', '-q']\n"
        "from stablemax.cli.main import _run\n_run()\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & "
        "{'torch', 'jax', 'optax', 'scipy', 'array_api_compat'}), 'stablemax.comparing.league' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "[] False")


@pytest.mark.slow
def test_nothing_of_a_library_reaches_standard_error() -> None:
    need("torch", "jax")
    done = process(
        *("compare", "--hazard", "positive-infinity", "--peer", "torch", "--peer", "jax", "--backend", "torch"),
        *("--format", "float32", "--format", "float64", "-q"),
    )
    assert (done.code, done.err) == (0, "")
