"""TARGET to a callable, and what is said of one that cannot be loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from stablemax.check.target.load import is_code, load
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Target
from stablemax.text.errors import StablemaxError

from ...records import LOGSUMEXP, SOFTMAX

WAYS = Path(__file__).parents[1] / "callable_in_many_ways.py"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder; what is imported from there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def refusal(target: str) -> tuple[str, str]:
    with pytest.raises(StablemaxError) as caught:
        load(target)
    assert len(caught.value.hint) > 3
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("with_axis", "with_axis"),
        ("Softmax", "Softmax()"),
        ("Softmax.forward", "Softmax().forward"),
        ("Softmax.static", "Softmax.static"),
        ("softmax", "softmax"),
        ("softmax.forward", "softmax.forward"),
    ],
)
def test_a_function_a_class_a_method_and_an_object_are_found_and_can_be_called(name: str, expression: str) -> None:
    function, written, *_ = load(f"{WAYS}:{name}")
    assert written == expression
    p = (
        function(np.array([[0.0, 0.0]], np.float32), -1)
        if name == "with_axis"
        else function(np.array([[0.0, 0.0]], np.float32))
    )
    assert p.tolist() == [[0.5, 0.5]]


def test_a_file_imports_the_modules_beside_it(folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "models" / "beside.py").write_text("def twice(x):\n    return 2 * x\n")
    (folder / "models" / "model.py").write_text("from beside import twice\n\ndef softmax(x):\n    return twice(x)\n")
    assert load("models/model.py:softmax").function(4) == 8


def test_a_module_is_imported_from_the_working_folder_or_from_what_is_installed(folder: Path) -> None:
    (folder / "own_package").mkdir()
    (folder / "own_package" / "__init__.py").write_text("")
    (folder / "own_package" / "part.py").write_text("def softmax(x):\n    return x\n")
    assert load("own_package.part:softmax").function(4) == 4
    assert load("numpy:exp").function is np.exp


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("absent.py:softmax", "absent.py: there is no such file", "TARGET is path/to/file.py:function"),
        ("modle.py:softmax", "modle.py: there is no such file", "did you mean model.py?"),
        ("model.py:sofmax", "model.py has no function 'sofmax'", "did you mean softmax?"),
        ("model.py:other", "model.py has no function 'other'", "there are: softmax, Loss, Model"),
        ("model.py", "model.py: which function?", "name one: model.py:softmax, model.py:Loss, model.py:Model"),
        ("model.py:", "model.py: which function?", "name one: model.py:softmax"),
        ("empty.py", "empty.py: which function?", "it defines no function"),
        ("empty.py:softmax", "empty.py has no function 'softmax'", "there are: none"),
        ("model.py:NUMBER", "model.py:NUMBER is of type int, which cannot be called", "TARGET is"),
        ("model.py:Model", "model.py:Model cannot be made without arguments", "name a function that makes it"),
        ("model.py:Model.run", "model.py:Model.run cannot be made without arguments", "name a function that makes it"),
        ("unfinished.py:softmax", "unfinished.py: line 2: SyntaxError: '(' was never closed", "python unfinished.py"),
        ("dividing.py:softmax", "dividing.py: line 3: ZeroDivisionError: division by zero", "python dividing.py"),
        ("exiting.py:softmax", "exiting.py: line 2: SystemExit: 3", "python exiting.py"),
        ("needing.py:softmax", "needing.py: line 1: ModuleNotFoundError: No module named 'absent_part'", "needing.py"),
        # A ValueError before Python 3.11.4, a SyntaxError since.
        ("binary.py:softmax", "binary.py: ", "python binary.py"),
        ("needing:softmax", "needing: line 1: ModuleNotFoundError: No module named 'absent_part'", "-m needing"),
        ("absent_package:softmax", "there is no module 'absent_package'", "install it, or run from the folder"),
        ("numpy.absent:softmax", "there is no module 'numpy.absent'", "install it"),
        ("two words:softmax", "'two words' is neither a module nor a file", "TARGET is"),
        (":softmax", "'' is neither a module nor a file", "TARGET is"),
        ("a/folder/:softmax", "a/folder/: there is no such file", "TARGET is"),
        ("numpy:sqr", "numpy has no function 'sqr'", "did you mean sqrt?"),
    ],
)
def test_a_mistake_in_the_target_is_told_with_what_to_do(folder: Path, target: str, message: str, hint: str) -> None:
    for name, text in {
        "model": "NUMBER = 3\ndef softmax(x):\n    return x\nclass Loss:\n    pass\n"
        "class Model:\n    def __init__(self, size):\n        pass\n    def run(self, x):\n        return x\n",
        "empty": "NUMBER = 3\n",
        "unfinished": "x = 1\ny = (\n",
        "dividing": "import math\n\n1 / 0\n",
        "exiting": "import sys\nsys.exit(3)\n",
        "needing": "import absent_part\n",
        "binary": "\0",
    }.items():
        (folder / f"{name}.py").write_text(text)
    said, advised = refusal(target)
    assert said.startswith(message)
    assert hint in advised


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("target", ["pipe.py", "pipe.py:softmax", "./pipe:softmax", "/dev/zero:softmax", "folder.py:f"])
def test_what_is_no_regular_file_is_refused_before_anything_is_read_from_it(folder: Path, target: str) -> None:
    for name in ("pipe", "pipe.py"):
        os.mkfifo(folder / name)
    (folder / "folder.py").mkdir()
    with pytest.raises(StablemaxError, match=r"is not a regular file, so it holds no Python code"):
        load(target)


def test_code_is_told_from_the_ids_of_variants_and_built_ins() -> None:
    targets = ["a.py:f", "a.py", "a.b:f", "C:\\x\\a.py:f", "softmax/naive", "torch/softmax", "softmax"]
    assert [is_code(t) for t in targets] == [True, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("softmax/naiv", "did you mean softmax/naive?"),
        ("softmax", "TARGET is path/to/file.py:function"),
        ("", "TARGET is path/to/file.py:function"),
        ("nobody/softmax", "stablemax list variants"),
    ],
)
def test_an_id_that_nobody_has_is_a_mistake(target: str, hint: str) -> None:
    with pytest.raises(StablemaxError) as caught:
        load_local(Target(target))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target(f"{WAYS}:with_axis"), "its name does not say what it computes"),
        (Target("softmax/naive", LOGSUMEXP), "softmax/naive does not compute logsumexp"),
        (Target("softmax/naive", backward=True), "--backward: autograd does not differentiate softmax/naive"),
        (Target(f"{WAYS}:softmax", backward=True), "--backward needs a library with autograd"),
        (Target(f"{WAYS}:softmax", LOGSUMEXP, backward=True), "the gradient of logsumexp is not judged"),
    ],
    ids=lambda v: "" if isinstance(v, Target) else v,
)
def test_a_target_that_makes_no_sense_is_a_mistake(target: Target, message: str) -> None:
    with pytest.raises(StablemaxError, match=message):
        load_local(target)


def test_what_stands_at_hand_is_found_where_it_can_be_imported() -> None:
    def local(x: np.ndarray) -> np.ndarray:
        return x

    module = load(f"{WAYS}:with_axis").function
    target = Target("f", SOFTMAX)
    assert (load_local(target, np.exp).info.module, load_local(target, np.exp).info.expression) == ("numpy", "exp")
    assert load_local(target, module).info.expression == "with_axis"
    assert load_local(target, local).info.module == ""
    assert load_local(target, local).info.expression == "local"
    assert load_local(target, lambda x: x).info.expression == "function"
