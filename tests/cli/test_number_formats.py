"""Number formats as they are typed: every command that computes takes any of them, or says why not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import stablemax
from stablemax.numerics.formats import FORMATS, Format, get_format
from stablemax.testing import assert_accurate, assert_stable

from ..plugging import plug_in
from .running import assert_refused, run

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.numerics.formats import Array

CODE = """
import numpy as np

def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

def leaving_softmax(x):
    return softmax(np.asarray(x))

def naive_softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)
"""
TORCH = "import torch\n\ndef softmax(x):\n    return torch.softmax(x, dim=-1)\n"
QUICK = ("--only", "gentle", "--only", "large-logits", "--no-search")
PAIRS = pytest.mark.parametrize(("emulated", "own"), [("e5m10", "float16"), ("e8m7", "bfloat16"), ("e8m23", "float32")])
EMULATED = pytest.mark.parametrize("name", ["tf32", "e5m10"])


@pytest.fixture
def room(desk: Path) -> Path:
    (desk / "numpy_code.py").write_text(CODE)
    (desk / "torch_code.py").write_text(TORCH)
    x = np.load("x.npy") - 5.0
    p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    np.save("p.npy", p)
    return desk


@pytest.mark.slow
@EMULATED
@pytest.mark.parametrize(
    "command",
    [
        "compare --scale 3 --operation softmax",
        "compare --hazard large-logits --operation softmax",
        "compare --hazards --operation logsumexp --variant wide --variant shifted",
        "check softmax/shifted --only gentle --no-search",
        "check numpy_code.py:softmax --only gentle --only large-logits --no-search",
        "judge x.npy p.npy --operation softmax",
        "inspect x.npy",
        "softmax x.npy",
        "log-softmax x.npy",
        "logsumexp x.npy",
        "loss x.npy y.npy",
        "grad x.npy y.npy",
    ],
)
def test_a_command_computes_in_a_format_that_numpy_lacks(command: str, name: str, room: Path) -> None:
    done = run(*command.split(), "--format", name)
    assert done.code == 0, done.err
    if command.startswith(("compare", "check", "judge", "inspect")):
        assert name in done.out


@pytest.mark.slow
@EMULATED
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("trace softmax/naive", ("code is not traced in", "which stablemax emulates")),
        ("trace numpy_code.py:softmax", ("code is not traced in", "which stablemax emulates")),
        ("check torch/softmax", ("torch/softmax cannot be tried in", "does not take it")),
        ("check numpy_code.py:leaving_softmax", ("it leaves the format", "numpy.asarray")),
    ],
)
def test_a_command_that_cannot_says_why(command: str, words: tuple[str, ...], name: str, room: Path) -> None:
    if "torch" in command:
        pytest.importorskip("torch")
    assert_refused(run(*command.split(), "--format", name), name, *words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tf32"])
def test_a_library_without_arrays_of_a_format_is_not_called_broken(name: str, room: Path) -> None:
    pytest.importorskip("torch")
    assert_refused(
        run("check", "torch_code.py:softmax", "--format", name), name, "torch's arrays, of which there are none"
    )
    done = run("check", "torch_code.py:softmax", "--format", name, "--format", "float32", *QUICK)
    assert done.code == 0
    assert f"not tried in {name}: it takes torch's arrays" in done.err


def test_a_result_in_a_format_that_numpy_lacks_is_written_as_the_narrowest_that_holds_it(room: Path) -> None:
    for name, dtype in (("tf32", np.float32), ("e10m10", np.float64)):
        done = run("softmax", "x.npy", "--format", name, "-o", f"{name}.npy")
        assert f"{name} is written as {np.dtype(dtype).name}, for NumPy lacks it" in done.err
        written = np.load(room / f"{name}.npy")
        assert written.dtype == dtype
        assert np.array_equal(written, get_format(name).round(written))


@pytest.mark.slow
def test_what_breaks_in_an_emulated_format_is_written_as_code_that_runs(room: Path) -> None:
    done = run(
        "check", "numpy_code.py:naive_softmax", "--format", "tf32", "--only", "large-logits", "--output-format", "json"
    )
    assert done.code == 1
    report = json.loads(done.out)
    example = report["counterexample"]
    assert 'get_format("tf32").cast(' in example["code"]
    namespace: dict[str, object] = {}
    with np.errstate(all="ignore"):
        exec(compile("import sys; sys.path.insert(0, '.')\n" + example["code"], "paste.py", "exec"), namespace)
        assert np.isnan(np.asarray(namespace["output"])).all()
        exec(compile(example["test"], "test_paste.py", "exec"), namespace)
        (test,) = (value for key, value in namespace.items() if key.startswith("test_"))
        with pytest.raises(AssertionError, match="NaN"):
            test()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        *(("fp16", "float16"), ("half", "float16"), ("BF16", "bfloat16"), ("fp32", "float32"), ("FLOAT32", "float32")),
        *(("single", "float32"), ("float", "float32"), ("double", "float64"), ("fp64", "float64"), ("TF32", "tf32")),
        *(("fp8", "float8_e4m3fn"), ("e4m3", "float8_e4m3fn"), ("fp8_e4m3", "float8_e4m3fn"), ("e5m2", "float8_e5m2")),
        *(("fp8_e5m2", "float8_e5m2"), ("fp4", "float4_e2m1fn"), ("E5M10", "e5m10"), ("float8_e4m3", "float8_e4m3")),
        *(("e3m4", "float8_e3m4"), ("fp6_e3m2", "float6_e3m2fn"), ("e11m52", "float64")),
    ],
)
def test_what_people_type_is_understood_in_any_case(typed: str, name: str) -> None:
    assert get_format(typed).name == name


def test_a_format_under_two_names_is_tried_once(room: Path) -> None:
    done = run(
        "inspect", "x.npy", "--format", "fp16", "--format", "half", "--format", "float16", "--output-format", "json"
    )
    assert [f["format"] for f in json.loads(done.out)["formats"]] == ["float16"]


@pytest.mark.parametrize(
    "command", ["compare", "check softmax/naive", "trace softmax/naive", "softmax x.npy", "inspect x.npy"]
)
def test_an_unknown_format_is_one_line_with_the_nearest_and_all(command: str, room: Path) -> None:
    done = run(*command.split(), "--format", "float23")
    assert_refused(done, "there is no number format 'float23'", "did you mean float32?", "tf32", "eXmY")


def cells(*options: str) -> dict[tuple[str, str], dict[str, object]]:
    """What compare says of each variant, but for the name of the format."""
    done = run("compare", *options, "--output-format", "json")
    assert done.code == 0, done.err
    verdicts = [v for r in json.loads(done.out)["reports"] for v in r["verdicts"]]
    return {
        (v["variant"], v["accumulation"]): {k: w for k, w in v.items() if k not in ("format", "cause")}
        for v in verdicts
    }


@pytest.mark.slow
@PAIRS
@pytest.mark.parametrize(("sums", "scale"), [("sequential", "2"), ("float32", "40"), ("float64", "2")])
def test_an_emulated_format_is_the_one_with_a_dtype_cell_by_cell(
    emulated: str, own: str, sums: str, scale: str
) -> None:
    options = ("--scale", scale, "--rows", "5", "--classes", "300", "--accumulate", sums, "--show-values", "5")
    assert cells(*options, "--format", emulated) == cells(*options, "--format", own)


@pytest.mark.slow
@PAIRS
def test_the_outcomes_on_all_hazards_are_those_of_the_format_with_a_dtype(emulated: str, own: str) -> None:
    found = []
    for name in (emulated, own):
        done = run("compare", "--hazards", "--operation", "softmax", "--format", name, "--output-format", "json")
        assert done.code == 0, done.err
        found.append([(s["implementation"], s["outcomes"]) for s in json.loads(done.out)["standouts"]])
    assert found[0] == found[1]
    assert found[0]


@pytest.mark.slow
def test_a_record_is_all_that_a_new_format_takes(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Format("mine", precision=6, emax=31, emin=-30, has_subnormals=False)
    plug_in(monkeypatch, own)
    assert "mine" in FORMATS
    assert "mine" in run("compare", "--scale", "3", "--operation", "softmax", "--format", "mine").out
    assert run("check", "softmax/wide", "--format", "mine", *QUICK).code == 0
    assert "mine,6,2^-6" in run("list", "formats", "--output-format", "csv").out
    assert "mine" in run("inspect", "x.npy", "--format", "mine").out
    assert run("judge", "x.npy", "p.npy", "--operation", "softmax", "--format", "mine").code == 0


def test_python_takes_the_same_names() -> None:
    result = stablemax.compare([[1.0, 2.0, 100.0]], formats=["TF32", "e5m10"], variants=["softmax/naive"])
    assert [(v.format, str(v.worst)) for v in result.verdicts] == [("tf32", "nan"), ("e5m10", "nan")]

    def softmax(x: Array) -> Array:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asanyarray(e / e.sum(axis=-1, keepdims=True))

    assert assert_stable(softmax, formats=["tf32", "half"], only=["gentle", "large-logits"], search=False).passed
    x = get_format("tf32").cast([[1.0, 2.0, 3.0]])
    assert assert_accurate(softmax(x), operation="softmax", logits=x).passed
    with pytest.raises(AssertionError, match="tf32"):
        assert_accurate(x, operation="softmax", logits=x)
