"""Where logits come from: files, a preset, a hazard or a random generator, the same for every command."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stablemax
from stablemax.cli.app import COMMANDS
from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.formats import FLOAT16, FLOAT32
from stablemax.operations import all_operations, get_operation
from stablemax.operations.operation import Operation, Second
from stablemax.text.registry import PluginWarning

from .running import Done, assert_refused, run

COMPUTED = [o for o in all_operations() if o.command]
ARRAYS = [o for o in COMPUTED if o.command in COMMANDS and o.second is Second.NONE]
WITHOUT_FILES = {
    "preset": ("--preset", "notebook-c-loss"),
    "hazard": ("--hazard", "large-logits"),
    "generated": ("--rows", "3", "--classes", "4", "--seed", "5"),
}
SOURCES = {**WITHOUT_FILES, "files": ()}
# What each second argument is in the files of these tests.
SECOND_FILES = {
    Second.NONE: (),
    Second.LABELS: ("y.npy",),
    Second.CELL_TARGETS: ("t.npy",),
    Second.LOGITS: ("other.npy",),
}
NEED_LOGITS = ["inspect", *dict.fromkeys(o.command for o in COMPUTED)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with logits, labels, targets of cells, and other logits."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.normal(size=(5, 3)).astype(np.float32))
    np.save("other.npy", rng.normal(size=(5, 3)).astype(np.float32))
    np.save("t.npy", rng.random((5, 3)).astype(np.float32))
    np.save("y.npy", np.array([0, 2, 1, 1, 0]))
    return tmp_path


def words_of(source: str, operation: Operation) -> tuple[str, ...]:
    """The source of an operation as a command is given it."""
    return SOURCES[source] if source != "files" else ("x.npy", *SECOND_FILES[operation.second])


def computed(operation: Operation, source: tuple[str, ...]) -> str:
    """Run the command of an operation, and return the file with what it gave."""
    command = operation.command.split()
    if command[0] in ("loss", "bce"):
        done = run(*command, *source, "-q")
        assert done.code == 0, done.err
        np.save("out.npy", float(done.out))
        return "out.npy"
    done = run(*command, *source, "-o", "out.npy", "-q")
    assert (done.code, done.err) == (0, "")
    return "out.npy"


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("operation", COMPUTED, ids=str)
def test_judge_finds_right_what_our_own_command_computed_of_the_same_source(operation: Operation, source: str) -> None:
    words = words_of(source, operation)
    output = computed(operation, words)
    arguments: tuple[str, ...] = (*words, output)
    if source == "files":
        logits, *second = words
        is_upstream = operation.second is Second.LOGITS
        arguments = (logits, output, *(("--upstream", *second) if is_upstream else second))
    elif operation.second is Second.LOGITS and source != "hazard":
        # The second logits of the program are those in reverse order, of which judge does not know.
        x = stablemax_logits(words)
        np.save("reversed.npy", x[:, ::-1])
        arguments = (*arguments, "--upstream", "reversed.npy")
    done = run("judge", *arguments, "--operation", operation.name)
    assert done.code == 0, done


def stablemax_logits(source: tuple[str, ...]) -> Any:
    """The logits of a source, as they are written to a file."""
    assert run("generate", *source, "-o", "logits.npy", "--force").code == 0
    return np.load("logits.npy")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("command", ["compare", "inspect"])
def test_a_look_at_logits_takes_every_source(command: str, source: str) -> None:
    done = run(command, *words_of(source, get_operation("cross_entropy")), "--format", "float32")
    assert done.code == 0, done.err
    assert "exp(x) overflows above" in done.out or "logits" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("operation", all_operations(), ids=str)
def test_a_trace_of_every_operation_takes_every_source(operation: Operation, source: str) -> None:
    words = SOURCES[source] if source != "files" else ("x.npy", *SECOND_FILES.get(operation.second, ()))
    done = run("trace", operation.best_id, *words)
    assert done.code == 0, done


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_generate_writes_the_logits_and_labels_that_loss_computes_with(name: str) -> None:
    source = WITHOUT_FILES[name]
    assert run("generate", *source, "-o", "logits.npy", "--labels", "labels.npy").code == 0
    assert run("loss", "logits.npy", "labels.npy").out == run("loss", *source).out


def test_the_loss_of_a_preset_is_right_to_the_last_digit() -> None:
    # In 50 digits it is 1.41853976429214635978..., and rounded to float32, as PyTorch gives it, 1.4185397624969482.
    done = run("loss", "--preset", "notebook-c-loss")
    assert (done.code, done.out) == (0, "1.4185397642921465\n")
    assert float(np.float32(float(done.out))) == 1.4185397624969482


# --- what a hazard comes with -----------------------------------------------------------------------

WITH_LABELS = [name for name, h in HAZARDS.items() if get_operation("cross_entropy") in h.operations]


@pytest.mark.parametrize("name", [n for n in WITH_LABELS if HAZARDS[n].needs])
def test_a_hazard_brings_its_labels_weights_and_smoothing(name: str) -> None:
    case = HAZARDS[name].case(FLOAT32)
    expected = stablemax.cross_entropy(
        FLOAT32.cast(case.logits),
        case.labels if case.labels.ndim == 1 else FLOAT32.cast(case.labels),
        weight=case.weight,
        label_smoothing=case.label_smoothing,
        axis=1,
    )
    done = run("loss", "--hazard", name, "-q")
    assert done.out in (f"{expected!r}\n", f"{float(expected)!r}\n")


def test_a_hazard_comes_in_the_format_asked_for() -> None:
    hazard = HAZARDS["logit-above-exp-overflow"]
    for words, fmt in (((), FLOAT32), (("--format", "float16"), FLOAT16)):
        done = run("log-softmax", "--hazard", hazard.name, *words, "--output-format", "json").json
        assert done["dtype"] == fmt.name
        right = stablemax.log_softmax(fmt.cast(hazard.case(fmt).logits))
        assert done["values"] == right.tolist()


def test_a_hazard_brings_its_upstream_gradient_and_its_second_logits() -> None:
    for operation, hazard in (("softmax_vjp", "two-rows"), ("kl_divergence", "nearly-equal-rows")):
        case = HAZARDS[hazard].case(FLOAT32)
        record = get_operation(operation)
        np.save("out.npy", getattr(stablemax.api, operation)(
            FLOAT32.cast(case.logits), FLOAT32.cast(case.second(record))
        ))  # fmt: skip
        assert run("judge", "--hazard", hazard, "out.npy", "--operation", operation).code == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inspect --hazard weighted-mean", "needs weights, which inspect does not pass on"),
        ("generate --hazard weighted-mean -o x2.npy --labels l.npy", "which a file of labels does not pass on"),
        ("sigmoid --hazard weighted-mean", "is not about sigmoid"),
        ("loss --hazard larg-logits", "did you mean large-logits?"),
    ],
)
def test_what_a_command_cannot_pass_on_is_refused_by_name(command: str, words: str) -> None:
    weighted = next(n for n, h in HAZARDS.items() if h.needs == ("weights",))
    assert_refused(run(*command.replace("weighted-mean", weighted).split()), words)


# --- one source alone -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", NEED_LOGITS)
def test_without_logits_and_without_options_for_them_nothing_is_computed(command: str) -> None:
    done = run(*command.split())
    assert_refused(done, "no logits are given", "--preset notebook-c-loss")
    for hint in ("--preset notebook-c-loss", "--hazard large-logits", "--rows 16"):
        assert run(*command.split(), *hint.split()).code in (0, 1)


def test_judge_without_logits_says_so() -> None:
    assert_refused(run("judge", "x.npy", "--operation", "softmax"), "1 file named", "LOGITS, OUTPUT")


MIXTURES = [
    ("x.npy --hazard gentle", "--hazard is the input, and a file is given"),
    ("x.npy --preset notebook-c", "--preset is for generated logits, and a file is given"),
    ("x.npy --scale 3", "--scale is for generated logits, and a file is given"),
    ("--hazard gentle --rows 3", "--rows does not go with --hazard"),
    ("--hazard gentle --preset notebook-c", "--preset does not go with --hazard"),
    ("--hazard gentle --axis 1", "--axis does not go with --hazard"),
    ("--hazard gentle --ignore-index 1", "--ignore-index does not go with --hazard"),
    ("--hazard gentle --labels y.npy", "--labels does not go with --hazard"),
    ("--preset notebook-c --scale 3", "--scale does not go with --preset notebook-c"),
    ("--preset notebook-c --label-column 1", "--label-column is for files"),
    ("--rows 3 --input-format npy", "--input-format is for files"),
    ("--rows 3 --labels y.npy", "--labels is for files"),
]


@pytest.mark.parametrize("command", ["compare", "trace softmax/naive", "loss", "grad", "inspect"])
@pytest.mark.parametrize(("words", "told"), MIXTURES, ids=[m[0] for m in MIXTURES])
def test_two_sources_are_refused_by_name(command: str, words: str, told: str) -> None:
    assert_refused(run(*command.split(), *words.split()), told, "leave out one of the two")


@pytest.mark.slow
@pytest.mark.parametrize("operation", ARRAYS, ids=str)
def test_two_sources_of_an_array_are_refused_by_name(operation: Operation) -> None:
    for words, told in MIXTURES:
        if "--labels" not in words and "--ignore-index" not in words:
            assert_refused(run(operation.command, *words.split()), told)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("loss --hazard gentle --weight x.npy", "--weight does not go with --hazard"),
        ("loss --hazard gentle --label-smoothing 0.1", "--label-smoothing does not go with --hazard"),
        ("trace softmax_vjp/direct --hazard gentle --upstream mean", "--upstream does not go with --hazard"),
        ("judge --hazard gentle x.npy --operation softmax_vjp --upstream x.npy", "--upstream does not go with"),
        ("judge --hazard gentle x.npy y.npy --operation softmax", "2 files named: OUTPUT is the only one"),
        ("generate --hazard gentle --rows 3 -o a.npy", "--rows does not go with --hazard"),
        ("generate --preset notebook-c --rows 3 -o a.npy", "--rows does not go with --preset notebook-c"),
        ("compare x.npy --operation binary_cross_entropy", "binary_cross_entropy needs cell targets"),
        ("compare x.npy --operation kl_divergence", "kl_divergence needs second logits"),
        ("compare x.npy other.npy --operation binary_cross_entropy", "other.npy: row 0, class "),
        ("trace binary_cross_entropy/naive x.npy", "binary_cross_entropy needs cell targets"),
        (
            "judge x.npy x.npy t.npy --operation binary_cross_entropy --label-smoothing 0.1",
            "--label-smoothing is not for",
        ),
        ("judge x.npy x.npy y.npy --operation sigmoid", "sigmoid takes no labels, and y.npy is given"),
        ("bce x.npy y.npy", "needs a target for each logit"),
        ("bce x.npy other.npy", "other.npy: row 0, class "),
        ("bce-grad x.npy other.npy -o g.npy", "other.npy: row 0, class "),
        ("kl-divergence x.npy", "compares two arrays of logits"),
        ("softmax --operation softmx", "--operation"),
        ("judge x.npy x.npy --operation softmx", "did you mean softmax?"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(command: str, told: str) -> None:
    assert_refused(run(*command.split()), told)


# --- the line that gives the same result again ------------------------------------------------------

CODE = """
import numpy as np

def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)
"""
REPRODUCED = [
    "compare --format float32 --operation softmax --show-values 2 --details --fail-on nan",
    "compare --preset notebook-c --operation softmax --fail-on nan",
    "compare --hazard large-logits --operation logsumexp --show-values 1",
    "compare --hazards --operation logsumexp --format float32 --variant shifted --details",
    "compare x.npy --labels y.npy --operation cross_entropy --format float16",
    "check code.py:softmax --only gentle --only large-logits --format float32 --no-search --details",
    "judge x.npy p.npy --operation softmax --max-ulp 3 --allow lost",
    "judge --hazard gentle p3.npy --operation softmax --reduction sum",
    "trace code.py:softmax --details --format float16",
    "trace code.py:softmax --rows 3 --scale 1e3",
    "trace cross_entropy/naive x.npy y.npy --ignore-index 2",
    "inspect x.npy y.npy --format float16 --fail-on unsafe",
    "inspect --rows 40 --offset=-3",
    "inspect --hazard many-uniform-rows",
]  # fmt: skip


def line_of(done: Done) -> list[str]:
    """The words of the line that is printed below a table."""
    (line,) = [t for t in done.out.splitlines() if t.startswith("reproduce: ")]
    return shlex.split(line.removeprefix("reproduce: stablemax "))


def document_of(done: Done) -> Any:
    return {name: value for name, value in done.json.items() if name != "versions"}


@pytest.mark.slow
@pytest.mark.parametrize("command", REPRODUCED)
def test_the_line_below_a_table_gives_the_same_again(command: str) -> None:
    Path("code.py").write_text(CODE)
    np.save("p.npy", stablemax.softmax(np.load("x.npy")))
    np.save("p3.npy", stablemax.softmax(np.array([[1, 2, 3]], np.float32)))
    words = command.split()
    first = run(*words, "--output-format", "json")
    assert first.code in (0, 1), first.err
    table = run(*words)
    again = line_of(table)
    assert again == first.json["command"][1:]
    repeated = run(*again, "--output-format", "json")
    assert (repeated.code, document_of(repeated)) == (first.code, document_of(first))
    assert run(*again).out == table.out
    # All that was given is in it.
    assert {w for w in words if w.startswith("--")} <= set(again)


def test_where_a_result_goes_and_how_it_looks_is_not_in_the_line() -> None:
    done = run("compare", "x.npy", "--operation", "softmax", "--color", "never", "-q")
    assert line_of(done) == ["compare", "x.npy", "--operation", "softmax"]
    assert run("compare", "x.npy", "--operation", "softmax", "-o", "r.txt").code == 0
    assert Path("r.txt").read_text().splitlines()[-1] == "reproduce: stablemax compare x.npy --operation softmax"


def test_generated_logits_are_named_whole_in_the_line() -> None:
    line = line_of(run("inspect", "--rows", "4"))
    assert line[:3] == ["inspect", "--seed", "0"]
    assert {"--scale", "--rows", "--classes", "--distribution", "--offset"} <= set(line)


# --- plugins ----------------------------------------------------------------------------------------


def test_a_plugin_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from stablemax.compute import loss

    whole = loss.loss_of

    def warning(*arguments: Any, **named: Any) -> Any:
        warnings.warn("plugin p (broken) cannot be imported: ImportError: no", PluginWarning, stacklevel=1)
        return whole(*arguments, **named)

    monkeypatch.setattr("stablemax.compute.loss.loss_of", warning)
    done = run("loss", "x.npy", "y.npy", "-q")
    assert (done.code, done.err) == (0, "warning: plugin p (broken) cannot be imported: ImportError: no\n")
