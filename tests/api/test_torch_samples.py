"""PyTorch's inputs to tests of its own functions: ours give the same to a few ulps, or refuse for a listed reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_pytorchs_sample_inputs_give_its_results() -> None:
    pytest.importorskip("torch", reason="these are PyTorch's own samples")
    program = Path(__file__).with_name("torch_samples.py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    for name in ("softmax", "log_softmax", "nn.functional.cross_entropy", "logsumexp"):
        assert counts[name].pop("equal") >= 25, name
    assert counts["softmax"] == counts["log_softmax"] == {}
    # SciPy takes a single number for an array of one, of which an axis can be kept; PyTorch does not.
    assert set(counts["logsumexp"]) == {"shape (1,) for ()"}
    refused = counts["nn.functional.cross_entropy"]
    # The random weights of these samples are negative, which no weight of a class is.
    assert refused.pop("equal, weights made positive") == sum(refused.values())
    assert all("is not a finite number of 0 or more" in words for words in refused)
