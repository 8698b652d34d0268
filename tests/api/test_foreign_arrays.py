"""Arrays of other libraries are taken where they lie; the libraries stand here as what they promise."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import stablemax
from stablemax.api.foreign_arrays import array_from
from stablemax.text.errors import StablemaxError


class OnlyArray:
    """An array that NumPy's own protocol alone gives."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        assert not copy
        return self.array


class OnlyDlpack:
    """An array that DLPack alone gives, on a device."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self.array, self.place = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place, 0


@pytest.mark.parametrize("kind", [OnlyArray, OnlyDlpack])
def test_an_array_of_another_library_is_taken_without_a_copy(kind: Any) -> None:
    x = np.arange(12.0).reshape(3, 4).T
    assert np.shares_memory(array_from(kind(x)), x)
    assert stablemax.softmax(kind(x)).tobytes() == stablemax.softmax(x).tobytes()
    assert stablemax.cross_entropy(kind(x), kind(np.array([0, 1, 2, 0]))) == stablemax.cross_entropy(x, [0, 1, 2, 0])
    assert stablemax.logsumexp(kind(x), b=kind(x)).tobytes() == stablemax.logsumexp(x, b=x).tobytes()
    assert stablemax.cross_entropy(x, [0, 1, 2, 0], kind(np.ones(3))) == stablemax.cross_entropy(x, [0, 1, 2, 0])
    assert type(stablemax.softmax(kind(x))) is np.ndarray


@pytest.mark.parametrize(("device", "is_here"), [(1, True), (3, True), (11, True), (2, False), (8, False), (10, False)])
def test_an_array_in_the_memory_of_another_device_is_refused_with_a_hint(device: int, is_here: bool) -> None:
    x = OnlyDlpack(np.zeros(3), device)
    if is_here:
        assert _memory_of(x) == 3
        return
    with pytest.raises(StablemaxError, match=f"an array on the device {device}:0") as caught:
        stablemax.softmax(x)
    assert "x.cpu()" in caught.value.hint


def _memory_of(x: OnlyDlpack) -> int:
    x.__class__ = type("Both", (OnlyDlpack, OnlyArray), {})
    return len(array_from(x))


def test_an_array_that_cannot_be_read_is_refused_in_its_librarys_words() -> None:
    class Unknown:
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            raise TypeError("a value that is not known yet")

    with pytest.raises(StablemaxError, match="not an array: a value that is not known yet") as caught:
        stablemax.softmax(Unknown())
    assert "computed" in caught.value.hint


# --- PyTorch and JAX themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "int64"])
def test_tensors_are_taken_where_they_lie_whatever_their_format_and_strides(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    whole = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, name))
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    for tensor in (whole, whole.permute(2, 0, 1), whole[:, ::2], whole[0, 0, 0]):
        array = array_from(tensor)
        assert array.dtype == dtype
        assert array.astype(np.float64).tolist() == tensor.double().tolist()
        assert array.__array_interface__["data"][0] == tensor.data_ptr()
        assert array.strides == tuple(n * dtype.itemsize for n in tensor.stride())


def test_a_gradient_is_not_recorded_and_a_negative_view_is_resolved() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert stablemax.softmax(x).tobytes() == stablemax.softmax([1.0, 2.0]).astype(np.float32).tobytes()
    assert stablemax.softmax(torch.nn.Parameter(x.detach().bfloat16())).dtype == ml_dtypes.bfloat16
    assert array_from(torch._neg_view(torch.tensor([1.0, -2.0]))).tolist() == [-1.0, 2.0]


def test_tensors_that_are_not_here_or_not_dense_are_refused_with_a_hint() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for tensor in (torch.ones(3, device="meta"), torch.eye(3).to_sparse()):
        with pytest.raises(StablemaxError, match="not an array") as caught:
            stablemax.softmax(tensor)
        assert "dense, in this machine's memory" in caught.value.hint
    with pytest.raises(StablemaxError, match="complex64"):
        stablemax.softmax(torch.ones(3, dtype=torch.complex64))


def test_arrays_of_jax_are_taken_where_they_lie_and_traced_ones_refused() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    for dtype in ("float32", "bfloat16", "int32"):
        x = jax.numpy.arange(6, dtype=dtype).reshape(2, 3)
        array = array_from(x)
        assert array.__array_interface__["data"][0] == x.unsafe_buffer_pointer()
        assert stablemax.logsumexp(x, None) == stablemax.logsumexp(np.asarray(x), None)
    with pytest.raises(StablemaxError, match="not an array: ") as caught:
        jax.jit(stablemax.softmax)(jax.numpy.ones(3))
    assert "computed" in caught.value.hint


def test_no_library_is_imported_to_take_arrays() -> None:
    code = "import sys, stablemax; stablemax.softmax([1.0]); print({'torch', 'jax', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert (done.stdout, done.stderr) == ("set()\n", "")
