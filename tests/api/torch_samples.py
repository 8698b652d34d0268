"""PyTorch's own sample inputs, given to our functions: prints what became of each as JSON.

A program of its own: importing PyTorch's test suite changes settings of the process.
"""

from __future__ import annotations

import collections
import json
import sys
import types
import unittest
import warnings
from typing import Any

import numpy as np

import stablemax

OURS: dict[str, Any] = {
    "softmax": stablemax.softmax,
    "log_softmax": stablemax.log_softmax,
    "logsumexp": stablemax.logsumexp,
    "nn.functional.cross_entropy": stablemax.cross_entropy,
}
DTYPES = {"float64": 53, "float32": 24, "bfloat16": 8}
ULPS, ULPS_IN_FLOAT64 = 1.05, 8.0
"""Units of u; of float64 the errors are PyTorch's own, and ours of up to 4 ulp."""


def call(name: str, sample: Any) -> Any:
    """Call our function as PyTorch's is called, the format of the result aside."""
    options = {key: value for key, value in sample.kwargs.items() if key != "dtype"}
    if name == "logsumexp":
        dim, keepdim = (*sample.args, False)[:2]
        return stablemax.logsumexp(sample.input, dim, keepdims=keepdim)
    if name == "nn.functional.cross_entropy":
        return stablemax.cross_entropy(sample.input, *sample.args, **options)
    return OURS[name](sample.input, *sample.args)


def in_float64(value: Any) -> Any:
    """Return a tensor of numbers in float64, and what is no such tensor as it is."""
    return value.double() if getattr(value, "is_floating_point", lambda: False)() else value


def outcome(op: Any, sample: Any, precision: int) -> str:
    """Say what became of a sample: equal, or how it differs, or why it was refused."""
    options = {key: in_float64(value) for key, value in sample.kwargs.items() if key != "dtype"}
    right = op(in_float64(sample.input), *map(in_float64, sample.args), **options).detach().numpy()
    try:
        found = np.asarray(call(op.name, sample)).astype(np.float64)
    except stablemax.StablemaxError as error:
        return f"refused: {error}"
    if found.shape != right.shape:
        return f"shape {found.shape} for {right.shape}"
    # PyTorch subtracts the maximum and rounds: in float64 that error is its own.
    spread = float(np.ptp(in_float64(sample.input.detach()).numpy())) if sample.input.numel() else 0.0
    bits = 53 if op.name == "nn.functional.cross_entropy" else precision
    ulps = ULPS_IN_FLOAT64 if bits == DTYPES["float64"] else ULPS
    allowed = (ulps * 2.0**-bits + 2.0**-53 * spread) * np.maximum(np.abs(right), 0 if op.name == "softmax" else 1)
    with np.errstate(invalid="ignore"):
        same = (np.abs(found - right) <= allowed) | (found == right) | (np.isnan(found) & np.isnan(right))
    return "equal" if same.all() else f"differs: {found.tolist()} for {right.tolist()}"


def main() -> None:
    """Run all samples."""
    op: Any
    import torch

    # PyTorch's test suite compares printed text by it, which is of no use here.
    sys.modules.setdefault("expecttest", types.SimpleNamespace(TestCase=unittest.TestCase))  # type: ignore[arg-type]
    from torch.testing._internal.common_methods_invocations import op_db

    counts: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in OURS}
    for op in filter(lambda op: op.name in OURS, op_db):
        for dtype, precision in DTYPES.items():
            for sample in op.sample_inputs("cpu", getattr(torch, dtype)):
                counts[op.name][outcome(op, sample, precision)] += 1
                weight = sample.kwargs.get("weight")
                if weight is not None and (weight < 0).any():
                    sample.kwargs["weight"] = weight.abs()
                    counts[op.name][f"{outcome(op, sample, precision)}, weights made positive"] += 1
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
