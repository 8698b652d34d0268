"""Results of 1,000 rows, bit by bit, as they are on every machine.

python tests/kernels/stored_bits.py [numpy|numba] prints them; what is in stored_bits.csv was printed once.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.workspace import Workspace
from stablemax.kernels import passes as ways
from stablemax.kernels import row_kernels as kernels
from stablemax.numerics.formats import FLOAT64

if TYPE_CHECKING:
    from stablemax.kernels.passes import Passes
    from stablemax.numerics.formats import Array

STORED = Path(__file__).with_suffix(".csv")
ROWS = 1000


def numbers(count: int, salt: int) -> Array:
    """Integers of 53 bits that no library decides on: the splitmix64 of 0, 1, 2, ..."""
    with np.errstate(over="ignore"):
        z = (np.arange(count, dtype=np.uint64) + np.uint64(salt << 32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) >> np.uint64(11)


def rows() -> list[Array]:
    """Rows of 1 to 60 classes of float64, a few longer, of sizes from 2**-20 to 2**12, some with masked classes."""
    made = []
    for i in range(ROWS):
        classes = 3000 + i if i % 250 == 0 else 1 + int(numbers(1, 2 * i)[0] % np.uint64(60))
        x = (numbers(classes, 2 * i + 1).astype(np.float64) - 2.0**52) * 2.0 ** (i % 33 - 72)
        if i % 7 == 0:
            x[1::3] = -np.inf
        if i % 11 == 0:
            x = np.sort(x)[::-1].copy()
        made.append(x[None, :])
    return made


def lines(passes: Passes) -> list[str]:
    """Loss and log-sum-exp of each row as hexadecimal numbers, and checksums of its arrays."""
    found, workspace = [], Workspace()
    for i, x in enumerate(rows()):
        label = np.array([i % x.shape[1]])
        loss, total = kernels.losses(x, label, passes, workspace)[0], np.empty((1, 1))
        kernels.logsumexps(x, total, FLOAT64, passes, workspace)
        checksums = []
        for name in ("softmax", "log_softmax", "gradient"):
            out = np.empty(x.shape)
            if name == "gradient":
                kernels.gradient(x, label, np.ones(1), 7.0, out, FLOAT64, passes, workspace)
            else:
                getattr(kernels, name)(x, out, FLOAT64, passes, workspace)
            checksums.append(f"{zlib.crc32(out.astype('<f8').tobytes()):08x}")
        found.append(",".join([str(i), float(loss).hex(), float(total[0, 0]).hex(), *checksums]))
    return found


def main(way: str = "numpy") -> None:
    with np.errstate(all="ignore"):
        found = lines(ways.PAIRS if way == "numpy" else ways.loops(may_be_quick=False))
    sys.stdout.write("".join(f"{line}\n" for line in found))


if __name__ == "__main__":
    main(*sys.argv[1:])
