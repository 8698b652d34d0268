"""Hunts for faults in the readers of files: `python -m tests.fuzz 100000` judges so many files of each kind."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .campaign import run_campaign, work
from .hunting import KINDS


def main() -> int:
    """Run a campaign for each kind of file, and print what was found; 1 where there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("mutations", type=int, help="files of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of files, between commas")
    asked = parser.parse_args()
    faults = 0
    for kind in asked.kinds.split(","):
        done = run_campaign(kind, asked.first, asked.mutations)
        faults += len(done.faults)
        print(  # noqa: T201
            f"{kind:12} {done.cases:>9,} files, {done.accepted:>8,} accepted, {len(done.faults):>3} faults, "
            f"{done.seconds:6.0f} s",
            flush=True,
        )
        for seed, what in done.faults[:20]:
            print(f"  seed {seed}: {what}", flush=True)  # noqa: T201
    return min(faults, 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        sys.exit(main())
