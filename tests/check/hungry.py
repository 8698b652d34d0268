"""Softmaxes and losses that ask for a lot of memory; loaded by the tests, in a process of their own."""

from __future__ import annotations

from typing import Any

import numpy as np


def _softmax(x: Any) -> Any:
    d = x.astype(np.float64)
    e = np.exp(d - d.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype(x.dtype)


def matrix_softmax(x: Any) -> Any:
    np.eye(x.shape[-1])  # 80 GB for 100,000 classes
    return _softmax(x)


def matrix_naive_softmax(x: Any) -> Any:
    np.eye(x.shape[-1])
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def refusing_softmax(x: Any) -> Any:
    if x.shape[-1] > 2 and (x == 0).all():
        raise MemoryError
    return _softmax(x)


def softmax_with_600_mb(x: Any) -> Any:
    np.ones(75_000_000)
    return _softmax(x)


def softmax_in_torchs_words(x: Any) -> Any:
    if x.shape[-1] > 1000:
        raise RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 GB")
    return _softmax(x)


_KEPT: list[Any] = []


def softmax_that_keeps_200_mb(x: Any) -> Any:
    _KEPT.append(np.ones(25_000_000))
    return _softmax(x)


def softmax_that_aborts_for_memory(x: Any) -> Any:
    import os

    if x.shape[-1] > 1000:
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()
    return _softmax(x)


def softmax_that_is_killed(x: Any) -> Any:
    import os

    if x.shape[-1] > 1000:
        os.kill(os.getpid(), 9)
    return _softmax(x)
