"""Every pattern: its code computes what its tree does, in each library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT32
from stablemax.trace.cures.applying import output_of
from stablemax.trace.cures.matching import Apply, Leaf, Matcher, Number, Tree
from stablemax.trace.cures.pattern import Pattern
from stablemax.trace.cures.patterns import PATTERNS
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.numpy.numpy_run import NumpyCode

LEAVES = {
    "x": [[0.3, 0.4, 0.2]], "y": [[0.5, 0.25, 0.125]], "a": [[2.0, 3.0, 4.0]], "b": [[0.9, 0.7, 0.8]],
    "c": [[0.25, 0.125, 0.375]],
}  # fmt: skip
CONSTANTS = {"eps": 0.001, "n": 3.0, "k": 1.5}


def axis_of(x: Any) -> dict[str, Any]:
    """Take rows of a matrix together, and all of a vector."""
    return {"axis": -1, "keepdims": True} if x.ndim > 1 else {}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda x: x.sum(**axis_of(x)),
    "mean": lambda x: x.mean(**axis_of(x)),
    "prod": lambda x: x.prod(**axis_of(x)),
    "cumprod": lambda x: x.cumprod(axis=-1),
    "sigmoid": sigmoid,
    "minus_sigmoid": lambda x: 1 - sigmoid(x),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(**axis_of(x)),
    "norm": lambda x: np.sqrt((x * x).sum(**axis_of(x))),
    "sum_of_squares": lambda x: np.square(x).sum(**axis_of(x)),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "binary_cross_entropy.none": lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)),
    "binary_cross_entropy.mean": lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(),
    "binary_cross_entropy.sum": lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(),
}


def computed(tree: Tree, leaves: dict[str, Any]) -> Any:
    """Compute a tree with NumPy."""
    if isinstance(tree, Leaf):
        return leaves[tree.name]
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Apply):
        operation = OPERATIONS.get(tree.name) or getattr(np, tree.name)
        return operation(*(computed(part, leaves) for part in tree.parts))
    return CONSTANTS[tree.name]


def is_of_vectors(tree: Tree) -> bool:
    return isinstance(tree, Apply) and (tree.name == "inner" or any(is_of_vectors(part) for part in tree.parts))


CASES = [
    pytest.param(pattern, tree, backend, id=f"{pattern.id}-{number}-{backend}")
    for pattern in PATTERNS
    for number, tree in enumerate(pattern.trees)
    for backend in ("numpy", "torch", "jax")
]


@pytest.mark.parametrize(("pattern", "tree", "backend"), CASES)
def test_the_code_of_a_pattern_computes_its_tree(pattern: Pattern, tree: Apply, backend: str) -> None:
    if backend != "numpy":
        pytest.importorskip(backend, reason="the code of patterns is in each library")
    leaves = {name: FLOAT32.cast(np.array(numbers)) for name, numbers in LEAVES.items()}
    if is_of_vectors(tree):
        leaves = {name: array[0] for name, array in leaves.items()}
    if "minus-exp" in pattern.id and "one-minus" in pattern.id:
        leaves["x"] = -leaves["x"]
    given = GivenArguments(tuple(leaves), tuple(leaves.values()))
    code = NumpyCode(given, FLOAT32, lambda *arrays: computed(tree, dict(zip(leaves, arrays, strict=True))))
    run, flow = code.recorded()
    match = Matcher(flow).at(tree, flow.nodes[-1])
    assert match is not None, "a pattern finds its own tree"
    outputs = [output_of(text, match, flow, backend) for text in pattern.code(backend)]
    fitting = [output for output in outputs if output is not None]
    assert fitting, "none of its expressions fits"
    for output in fitting:
        np.testing.assert_allclose(output, run.value, rtol=2e-4)


def test_a_pattern_has_code_for_every_library_and_a_name_of_its_own() -> None:
    assert all(pattern.numpy and pattern.torch and pattern.jax for pattern in PATTERNS)
    names = [pattern.id for pattern in PATTERNS]
    assert len(set(names)) == len(names)
