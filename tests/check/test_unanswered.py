"""What a check says where its target gave no answer to a question about the line to blame."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stablemax.check import CheckOptions, check
from stablemax.check.target.messages import Target
from stablemax.numerics.formats import FLOAT32
from stablemax.results import Grade

from ..records import SOFTMAX

pytestmark = pytest.mark.slow

NAIVE_UNLESS_TRACED = """
import os
import time
import numpy as np

def softmax(x):
    if type(x) is not np.ndarray:
        {}
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="processes end by signals")
@pytest.mark.parametrize(
    ("instead", "note"),
    [
        ("time.sleep(600)", "no line is named: tracing it gave no answer within 2 s"),
        ("os._exit(3)", "no line is named: tracing it ended its process (exit code 3)"),
        (
            "raise ValueError('no shadows')",
            "no line is named: the traced function raises ValueError at model.py:8",
        ),
    ],
    ids=["hangs", "ends", "raises"],
)
def test_a_trace_that_fails_is_told_in_a_note(instead: str, note: str, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(NAIVE_UNLESS_TRACED.format(instead))
    target = Target(f"{tmp_path / 'model.py'}:softmax", SOFTMAX)
    report = check(target, CheckOptions((FLOAT32,), only=("large-logits",)), timeout_s=2.0)
    assert report.grade is Grade.UNSTABLE
    assert not report.blame
    assert [line for line in report.notes if line.startswith(note)]
