"""`stablemax judge` as it is typed: an output file of any program, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import stablemax

from .running import Done, assert_refused, run
from .test_check import GRADE, NUMBER, OUTCOME, TEXT, TEXTS, an_object


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what programs dumped; tests read it and write nothing into it."""
    folder = tmp_path_factory.mktemp("outputs")
    draw = np.random.default_rng(0)
    x, y = (draw.normal(size=(6, 4)) * 3).astype(np.float32), np.array([1, 3, 0, 2, 2, 1])
    cube, cube_y = draw.normal(size=(2, 4, 3)), np.array([[0, 1, 2], [3, 2, 1]])
    soft = np.full((6, 4), 0.25, dtype=np.float32)
    p, g = stablemax.softmax(x), draw.normal(size=(6, 4)).astype(np.float32)
    bad = p.copy()
    bad[2, 1], bad[3, 0] = np.nan, 0.0
    arrays = {
        "x": x,
        "y": y,
        "x64": x.astype(np.float64),
        "p": p,
        "p16": p.astype(np.float16),
        "bad": bad,
        "logp": stablemax.log_softmax(x),
        "lse": stablemax.logsumexp(x).astype(np.float32),
        "loss": np.float32(stablemax.cross_entropy(x, y)),
        "losses": stablemax.cross_entropy(x, y, reduction="none").astype(np.float32),
        "grad": stablemax.cross_entropy_grad(x, y),
        "sum-grad": stablemax.cross_entropy_grad(x, y, reduction="sum"),
        "g": g,
        "vjp": stablemax.softmax_vjp(x, g),
        "soft": soft,
        "soft-loss": np.float32(stablemax.cross_entropy(x, soft)),
        "cube": cube,
        "cube-y": cube_y,
        "cube-p": stablemax.softmax(cube, axis=1),
        "cube-losses": stablemax.cross_entropy(cube, cube_y, axis=1, reduction="none"),
        "transposed": p.T.copy(),
        "text": np.array(["a"]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "dump.npz", x=x, p=p)
    for name in ("x", "p"):
        np.savetxt(folder / f"{name}.csv", arrays[name], delimiter=",")
    np.savetxt(folder / "six-digits.csv", p, delimiter=",", fmt="%.6g")
    return folder


@pytest.fixture(autouse=True)
def here(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(outputs)


def judge(operation: str, *arguments: str, **changes: Any) -> Done:
    return run("judge", "--operation", operation, *arguments, **changes)


RIGHT = (
    ("softmax", "x.npy", "p.npy"),
    ("softmax", "dump.npz:x", "dump.npz:p"),
    ("softmax", "x.csv", "p.csv", "--round-logits", "float32", "--format", "float32"),
    ("softmax", "x64.npy", "p16.npy"),
    ("softmax", "cube.npy", "cube-p.npy", "--axis", "1"),
    ("log_softmax", "x.npy", "logp.npy"),
    ("logsumexp", "x.npy", "lse.npy"),
    ("cross_entropy", "x.npy", "loss.npy", "y.npy"),
    ("cross_entropy", "x.npy", "losses.npy", "y.npy"),
    ("cross_entropy", "x.npy", "soft-loss.npy", "soft.npy"),
    ("cross_entropy", "cube.npy", "cube-losses.npy", "cube-y.npy"),
    ("cross_entropy_grad", "x.npy", "grad.npy", "y.npy"),
    ("cross_entropy_grad", "x.npy", "sum-grad.npy", "y.npy", "--reduction", "sum"),
    ("softmax_vjp", "x.npy", "vjp.npy", "--upstream", "g.npy"),
)


@pytest.mark.parametrize("arguments", RIGHT, ids=" ".join)
def test_a_right_output_of_every_operation_and_kind_of_file_passes(arguments: tuple[str, ...]) -> None:
    done = judge(*arguments)
    assert done.code == 0, done
    assert f"is {arguments[0]} as it should be: the largest error is" in " ".join(done.out.split())
    files = " ".join(a for a in arguments[1:] if "." in a and a != "g.npy")
    assert done.out.splitlines()[-1].startswith(f"reproduce: stablemax judge {files} ")
    assert f" --operation {arguments[0]}" in done.out.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("softmax", "x.npy", "bad.npy"),
        ("softmax", "x.npy", "logp.npy"),
        ("log_softmax", "x.npy", "p.npy"),
        ("cross_entropy_grad", "x.npy", "sum-grad.npy", "y.npy"),
        ("cross_entropy_grad", "x.npy", "grad.npy", "y.npy", "--reduction", "sum"),
        ("softmax_vjp", "x.npy", "vjp.npy", "--upstream", "x.npy"),
        ("softmax", "cube.npy", "cube-p.npy"),
        ("softmax", "x.npy", "p16.npy", "--format", "float32", "--max-ulp", "2"),
    ],
    ids=" ".join,
)
def test_a_wrong_output_fails_with_exit_code_1(arguments: tuple[str, ...]) -> None:
    done = judge(*arguments)
    assert done.code == 1
    assert " is not right: " in done.out
    assert done.err.splitlines()[-1].startswith(f"failed: {arguments[2]} is not right: ")


def test_the_first_bad_cell_is_named_with_what_came_and_what_is_right() -> None:
    done = judge("softmax", "x.npy", "bad.npy")
    assert re.search(
        r"gives nan where [0-9.e-]+ is right; first at row 2, class 1, logit -?[0-9.]+", " ".join(done.out.split())
    )
    assert "✗ NaN    4%" in done.out
    assert "∅ lost   4%" in done.out
    allowed = judge("softmax", "x.npy", "bad.npy", "--allow", "nan", "--allow", "lost")
    assert allowed.code == 0
    finding = " ".join(allowed.out.split())
    assert finding.startswith("bad.npy keeps its contract: 8.33% of the cells are lost and nan, which is allowed.")


def test_text_is_judged_as_float64_and_says_so() -> None:
    done = judge("softmax", "x.csv", "p.csv")
    assert done.code == 1
    assert "note: p.csv is text, judged in float64: --format names what the program computed in\n" in done.err


def print_softmax(x: np.ndarray, style: str, change: Any = lambda p: p) -> None:
    """Write the softmax of logits, changed, as a program that prints it in a style."""
    p = change(np.asarray(stablemax.softmax(x)))
    text = "\n".join(",".join(style % v for v in row) for row in p.tolist())
    Path("printed.csv").write_text(text + "\n", encoding="utf-8")


@pytest.mark.parametrize("style", ["%.2f", "%.4f", "%.6f", "%.9f", "%.3g", "%.6g", "%.3e", "%.10e"])
def test_printed_decimals_pass_where_they_are_those_of_the_exact_value(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(3).normal(size=(6, 4)) * 2
    np.save("x.npy", x)
    print_softmax(x, style)
    done = judge("softmax", "x.npy", "printed.csv")
    assert done.code == 0, done
    assert "printed.csv agrees with softmax to every printed digit: " in " ".join(done.out.split())
    assert "largest error" not in done.out


@pytest.mark.parametrize("style", ["%.4f", "%.6f", "%.6g"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_program_that_rounded_to_float32_before_it_printed_passes(
    style: str, sign: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(7).normal(size=(200, 4)) * 2
    np.save("x.npy", x)
    print_softmax(x, style, lambda p: p * (1 + sign * 2.0**-23))
    done = judge("softmax", "x.npy", "printed.csv")
    assert done.code == 0, done
    # Of eight hundred numbers some lie at the border of two digits; who says float64 means it.
    if style != "%.4f":
        assert "to every printed digit, but for the rounding of " in " ".join(done.out.split())
        assert judge("softmax", "x.npy", "printed.csv", "--format", "float64").code == 1


@pytest.mark.parametrize("style", ["%.3f", "%.6f", "%.6g", "%.4e"])
@pytest.mark.parametrize(
    "change",
    [
        lambda p: p + 1e-3 * np.eye(*p.shape),
        lambda p: p[:, ::-1],
        lambda p: np.full_like(p, 0.25),
        np.zeros_like,
        lambda p: (p == p.max(axis=-1, keepdims=True)).astype(float),
        lambda p: p * 1.002,
    ],
    ids=["one-digit", "mirrored", "uniform", "zeros", "argmax", "a-factor"],
)
def test_a_wrong_output_fails_however_few_of_its_digits_are_printed(
    style: str, change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(3).normal(size=(6, 4)) * 2
    np.save("x.npy", x)
    print_softmax(x, style, change)
    done = judge("softmax", "x.npy", "printed.csv")
    assert done.code == 1, done
    assert " is not right: " in done.out


def test_a_finding_names_the_printed_digit_from_which_on_a_number_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("1,2,3\n", encoding="utf-8")
    Path("printed.csv").write_text("0.090031,0.244628,0.665241\n", encoding="utf-8")
    done = judge("softmax", "x.csv", "printed.csv")
    assert done.code == 1
    assert "gives 0.244628 where 0.244728 is right, wrong from digit 4 of 6 on; first at row 0, class 1" in done.err


def test_against_a_limit_in_ulps_a_printed_number_counts_as_it_stands() -> None:
    done = judge("softmax", "x.csv", "six-digits.csv", "--max-ulp", "1000")
    assert done.code == 1
    words = "six-digits.csv has at most 6 significant digits: against --max-ulp its numbers count as they stand"
    assert f"note: {words}\n" in done.err


def test_what_was_found_out_about_the_output_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("1,2,3\n", encoding="utf-8")
    Path("p.csv").write_text('file,p,y\na.jpg,"[0.09 0.245\n 0.665]",2\n', encoding="utf-8")
    done = judge("softmax", "x.csv", "p.csv")
    assert done.code == 0, done
    assert "note: p.csv: column 2 (p) holds a list a row, taken as the logits; file, y left out\n" in done.err


def test_logits_wider_than_the_output_are_pointed_at() -> None:
    done = judge("softmax", "x64.npy", "p16.npy")
    assert "if the program rounded the logits first, add --round-logits float16" in done.err
    assert "note" not in judge("softmax", "x64.npy", "p16.npy", "--round-logits", "float16").err
    assert judge("softmax", "x64.npy", "p16.npy", "-q").err == ""


def test_the_logits_may_come_from_standard_input(outputs: Path) -> None:
    done = judge("softmax", "-", "p.npy", stdin=(outputs / "x.npy").read_bytes())
    assert done.code == 0
    assert "input: standard input; 6 rows x 4 classes" in done.out


VERDICT = an_object(
    variant=TEXT,
    format=TEXT,
    accumulation=TEXT,
    worst=OUTCOME,
    shares={"type": "object"},
    error_ulp=NUMBER,
    error_u=NUMBER,
    error_over_bound=NUMBER,
    sum_error=NUMBER,
    mean=NUMBER,
    mean_error_ulp=NUMBER,
    first_bad={
        "oneOf": [
            {"type": "null"},
            an_object(row={"type": "integer"}, column={"type": "integer"}, logit=NUMBER, output=NUMBER, truth=NUMBER),
        ]
    },
    cause=TEXT,
    skipped=TEXT,
    grade=GRADE,
    row_shares={"type": "object", "additionalProperties": NUMBER},
    outcome_grades={"type": "object", "additionalProperties": GRADE},
    values={"type": "array"},
)
SCHEMA = an_object(
    schema={"const": "stablemax/2"},
    kind={"const": "judge"},
    versions={"type": "object", "additionalProperties": TEXT},
    operation=TEXT,
    output=TEXT,
    input=an_object(
        source=TEXT,
        dtype=TEXT,
        rows={"type": "integer"},
        classes={"type": "integer"},
        judged_rows={"type": "integer"},
        smallest=NUMBER,
        largest=NUMBER,
        labels=TEXT,
    ),
    verdict=VERDICT,
    grade=GRADE,
    passed={"type": "boolean"},
    finding=TEXT,
    contract=an_object(max_ulp=NUMBER, allow=TEXTS, only=TEXTS, formats=TEXTS, require=GRADE),
    bound_of=TEXT,
    command=TEXTS,
    notes=TEXTS,
    correctly_rounded_share=NUMBER,
    errors={
        "type": "array",
        "items": an_object(above_ulp=NUMBER, up_to_ulp=NUMBER, cells={"type": "integer"}),
    },
    faulty_cells={
        "type": "array",
        "items": an_object(
            row={"type": "integer"},
            column={"type": "integer"},
            logit=NUMBER,
            output=NUMBER,
            truth=NUMBER,
            outcome=TEXT,
            error_ulp=NUMBER,
        ),
    },
)


@pytest.mark.parametrize("arguments", [RIGHT[0], RIGHT[8], ("softmax", "x.npy", "bad.npy")], ids=" ".join)
def test_json_is_one_strict_document_of_the_schema(arguments: tuple[str, ...]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    done = judge(*arguments, "--output-format", "json")
    jsonschema.validate(done.json, SCHEMA)
    assert done.json["passed"] is (done.code == 0)


def test_the_other_output_formats_hold_the_verdict() -> None:
    for how, beginning in (
        ("csv", "operation,variant,format,"),
        ("plain", "operation\tvariant\tformat\t"),
        ("ndjson", '{"schema": "stablemax/2", "kind": "judge"'),
        ("markdown", "**unstable**: bad.npy is not right: "),
        ("github", "::error "),
        ("junit", "<?xml "),
    ):
        done = judge("softmax", "x.npy", "bad.npy", "--output-format", how)
        assert done.code == 1
        assert done.out.startswith(beginning), how


def test_an_output_of_bfloat16_is_judged_as_it_is_stored(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    x = (np.random.default_rng(1).normal(size=(7, 5)) * 3).astype(ml_dtypes.bfloat16)
    right = stablemax.softmax(x)
    wrong = right.copy()
    wrong[4, 2] *= ml_dtypes.bfloat16(1.5)
    safetensors.save_file({"x": x, "p": right, "q": wrong}, tmp_path / "all.safetensors")
    found = {}
    for name in "pq":
        files = (f"{tmp_path}/all.safetensors:x", f"{tmp_path}/all.safetensors:{name}")
        found[name] = run("judge", *files, "--operation", "softmax", "--output-format", "json").json
    assert (found["p"]["passed"], found["p"]["correctly_rounded_share"]) == (True, 1.0)
    assert found["p"]["verdict"]["format"] == "bfloat16"
    assert [(cell["row"], cell["column"]) for cell in found["q"]["faulty_cells"]] == [(4, 2)]


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_no_line_is_too_long_and_ascii_is_enough(columns: str) -> None:
    done = judge("softmax", "x.npy", "bad.npy", encoding="ascii", COLUMNS=columns)
    assert max(map(len, done.out.splitlines()[:-1])) <= int(columns)
    assert "x NaN" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x.npy", "p.npy"), ("what is OUTPUT?", "--operation softmax")),
        (("--operation", "softmax", "x.npy"), ("judge reads LOGITS, OUTPUT",)),
        (("--operation", "softmax", "x.npy", "absent.npy"), ("absent.npy: no such file",)),
        (("--operation", "softmax", "x.npy", "transposed.npy"), ("has shape (4, 6)", "(6, 4)")),
        (("--operation", "logsumexp", "x.npy", "p.npy"), ("has shape (6, 4)", "one number for each row")),
        (("--operation", "softmax", "x.npy", "text.npy"), ("text.npy: holds text",)),
        (("--operation", "cross_entropy", "x.npy", "loss.npy"), ("cross_entropy needs labels",)),
        (("--operation", "softmax_vjp", "x.npy", "vjp.npy"), ("needs its upstream gradient", "--upstream")),
        (("--operation", "softmax_vjp", "x.npy", "vjp.npy", "--upstream", "lse.npy"), ("lse.npy: has shape (6,)",)),
        (("--operation", "softmax", "x.npy", "p.npy", "--allow", "shift-invariance"), ("there is no outcome",)),
        (("--operation", "softmax", "x.npy", "p.npy", "--max-ulp", "-1"), ("out of range",)),
        (("--operation", "softmax", "x.npy", "p.npy", "--judge", "some"), ("--judge some",)),
        (("--operation", "softmax", "x.npy", "p.npy", "--format", "fp33"), ("fp33", "did you mean fp32?")),
        (("--operation", "softmax", "x.npy", "-"), ("only the logits can come from standard input",)),
        (("--operation", "cross_entropy", "x.npy", "loss.npy", "y.npy", "--weight", "y.npy"), ("does not fit",)),
        (("--operation", "cross_entropy", "x.npy", "loss.npy", "y.npy", "--label-smoothing", "2"), ("out of range",)),
        (("--operation", "cross_entropy", "x.npy", "loss.npy", "cube-y.npy"), ("cube-y.npy",)),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_a_mistake_is_told_in_two_lines_with_exit_code_2(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run("judge", *arguments), *words)
