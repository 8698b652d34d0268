"""Use stablemax from Python: a loss, its gradient, and which formulas hold on these logits.

    python samples/use_stablemax.py

Needs stablemax alone; works from any directory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import stablemax

HERE = Path(__file__).parent


def main() -> None:
    logits = np.load(HERE / "logits.npy")
    labels = np.load(HERE / "labels.npy")

    # What a naive softmax gives on the second row, and what is right.
    second = logits[1]
    with np.errstate(all="ignore"):
        naive = np.exp(second) / np.exp(second).sum()
    print("naive:  ", naive)
    print("softmax:", stablemax.softmax(second))

    print("loss:", stablemax.cross_entropy(logits, labels))
    print("losses:", stablemax.cross_entropy(logits, labels, reduction="none").round(4))
    gradient = stablemax.cross_entropy_grad(logits, labels)
    print("gradient:", gradient.dtype, gradient.shape, "finite" if np.isfinite(gradient).all() else "not finite")

    result = stablemax.compare(logits, labels, operations=["cross_entropy"], formats=["float32"])
    print(result.finding)
    for report in result.reports:
        for verdict in report.verdicts:
            print(f"  {verdict.variant}: {verdict.worst}")

    try:
        stablemax.cross_entropy(logits, labels + 4)
    except stablemax.StablemaxError as error:
        print("refused:", error)


if __name__ == "__main__":
    main()
