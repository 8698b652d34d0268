"""What a function computes and on whose arrays, read off its name and its code."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.check.target.infer import backend_of, gradient_of, operation_in
from stablemax.text.errors import StablemaxError

from ...records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, SOFTMAX_VJP

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("softmax", "softmax"),
        ("mySoftMax2", "softmax"),
        ("log_softmax", "log_softmax"),
        ("LogSoftmax", "log_softmax"),
        ("logsumexp", "logsumexp"),
        ("log_sum_exp", "logsumexp"),
        ("my_lse", "logsumexp"),
        ("cross_entropy", "cross_entropy"),
        ("CrossEntropyLoss", "cross_entropy"),
        ("softmax_cross_entropy_with_integer_labels", "cross_entropy"),
        ("nll", "cross_entropy"),
        ("ce", "cross_entropy"),
        ("loss_backward", "cross_entropy_grad"),
        ("grad_cross_entropy", "cross_entropy_grad"),
        ("softmax_backward", "softmax_vjp"),
        ("softmaxJacobian", "softmax_vjp"),
        ("f", None),
        ("forward", None),
    ],
)
def test_the_operation_is_read_off_the_name(name: str, operation: str | None) -> None:
    assert str(operation_in(name)) == str(operation)


def test_only_softmax_and_the_loss_have_a_gradient_that_is_judged() -> None:
    assert gradient_of(SOFTMAX) is gradient_of(SOFTMAX_VJP) is SOFTMAX_VJP
    assert gradient_of(CROSS_ENTROPY) is CROSS_ENTROPY_GRAD
    for operation in (LOG_SOFTMAX, LOGSUMEXP):
        with pytest.raises(StablemaxError, match=f"the gradient of {operation} is not judged"):
            gradient_of(operation)


def test_code_that_names_no_library_works_on_numpy_arrays() -> None:
    assert backend_of(lambda x: x) == "numpy"
    assert backend_of(np.exp) == "numpy"
    assert backend_of(len) == "numpy"


LIBRARY_CODE = {
    "annotated": "def f(x: 'torch.Tensor'): return x",
    "annotated with the class": "import torch\ndef f(x: torch.Tensor): return x",
    "naming the module": "import torch\ndef f(x): return torch.exp(x)",
    "naming a function of it": "from torch.nn.functional import softmax\ndef f(x): return softmax(x, -1)",
    "within an inner function": "import torch as t\ndef f(x):\n    def g(): return t.exp(x)\n    return g()",
    "with methods only": "import torch\ndef f(x): return x.exp()",
}


@pytest.mark.parametrize("code", LIBRARY_CODE.values(), ids=LIBRARY_CODE)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_library_is_found_out_from_the_code(library: str, code: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    names: dict[str, object] = {"__name__": "user_code"}
    text = {
        "torch": code,
        "jax": code.replace("torch.Tensor", "jax.Array")
        .replace("torch.nn.functional", "jax.nn")
        .replace("torch", "jax"),
    }[library]
    exec(compile(text, "user_code.py", "exec"), names)
    function = names["f"]
    assert callable(function)
    assert backend_of(function) == library


def test_functions_modules_and_objects_of_torch_work_on_its_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    assert backend_of(torch.softmax) == "torch"
    assert backend_of(torch.nn.functional.cross_entropy) == "torch"
    assert backend_of(torch.nn.Softmax(dim=-1)) == "torch"


def test_a_file_that_imports_both_libraries_is_taken_for_what_the_function_names() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    names: dict[str, object] = {"__name__": "user_code"}
    exec("import numpy as np, torch\ndef f(x): return np.exp(x)\ndef g(x): return torch.exp(x)", names)
    f, g = names["f"], names["g"]
    assert callable(f)
    assert callable(g)
    assert (backend_of(f), backend_of(g)) == ("numpy", "torch")


@pytest.mark.slow
def test_finding_out_loads_no_library() -> None:
    code = (
        "import sys; from stablemax.check.target.infer import backend_of, operation_in; "
        "backend_of(lambda x: x); operation_in('softmax'); print(sorted({'torch', 'jax', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout == "[]\n"


def test_what_jax_compiles_is_of_jax() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    jnp = pytest.importorskip("jax.numpy", reason="jax is not installed")

    def plain(x: object) -> object:
        return jnp.exp(x)

    for wrapped in (jax.jit(plain), jax.custom_vjp(plain)):
        assert backend_of(wrapped) == "jax"


def test_a_module_and_a_closure_that_are_made_in_a_function_are_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Softmax(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: object) -> object:
            return torch.softmax(x, -1)

    assert backend_of(Softmax()) == "torch"
    assert backend_of(lambda x: torch.softmax(x, -1)) == "torch"
    assert backend_of(functools.partial(torch.softmax, dim=-1)) == "torch"


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("softmax_lse", SOFTMAX),
        ("stable_softmax_logsumexp", SOFTMAX),
        ("softmax_nograd", SOFTMAX),
        ("softmax_cross_entropy", CROSS_ENTROPY),
        ("row_lse", LOGSUMEXP),
        ("pulse", None),
        ("lossless", None),
    ],
)
def test_a_name_with_two_words_of_the_field_is_read_as_a_person_would(name: str, operation: Operation | None) -> None:
    assert operation_in(name) is operation
