"""How many seeded bugs each kind of shape finds in a second, over the kernels of tests/seeded.

    python tests/benchmarks/shapes.py

Each broken kernel is tried on every shape in float32, in this process. One table has the shapes by their size,
the other by what they are like. A row has the seconds that a kernel takes on the shapes of a kind, truth and
judging included, the bugs that they find, those that no row above finds, and bugs by seconds. Rows are in the
order of what they add in a second, the best first: a check that runs out of time leaves out what finds least.
The exit code is always 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Target
from stablemax.check.trials import Trials
from stablemax.hazards.cases import Layout
from stablemax.hazards.shapes import ARRANGEMENTS, DIMENSIONS, LAST_AXIS, SHAPES, Shape
from stablemax.numerics.formats import FLOAT32
from stablemax.results import Contract

KERNELS = Path(__file__).parents[1] / "seeded"
FILES = ("broken_numpy.py", *(("broken_torch.py",) if importlib.util.find_spec("torch") else ()))
SMALL, MIDDLING = 1100, 9000
"""Up to so many classes."""


@dataclass
class Measured:
    """What one shape, or several, do to the kernels."""

    shapes: int = 0
    seconds: float = 0.0
    found: set[str] = field(default_factory=set)

    def add(self, other: Measured) -> None:
        self.shapes += other.shapes
        self.seconds += other.seconds
        self.found |= other.found


def size_of(shape: Shape) -> str:
    """Name the size of a shape."""
    if shape.rows > 3:
        return "blocks of rows"
    if shape.classes <= SMALL:
        return f"up to {SMALL:,} classes"
    return f"up to {MIDDLING:,} classes" if shape.classes <= MIDDLING else "more classes"


def kind_of(shape: Shape) -> str:
    """Name what a shape is like, whatever its size."""
    if shape.dimensions != 2:
        return "three and four dimensions"
    if shape.needs:
        return "rows ignored or with weights"
    return "memory layouts" if shape.layout is not Layout.C else shape.order


def targets() -> list[str]:
    """Name the broken kernels."""
    return [
        f"{KERNELS / file}:{name}"
        for file in FILES
        for name in re.findall(r"^def ([a-z]\w*)", (KERNELS / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]


def try_on(target: str, measured: dict[Shape, Measured]) -> None:
    """Try a kernel on every shape that it takes."""
    trials = Trials(load_local(Target(target)), Contract(None, (), (), ("float32",)))
    takes = trials.target.info.takes
    for shape, so_far in measured.items():
        if not set(shape.needs) <= (takes if trials.operation.needs_targets else set()) or (
            shape.dimensions != 2 and not takes & {DIMENSIONS, LAST_AXIS}
        ):
            continue
        start = time.perf_counter()
        trial = trials.trial(shape.case(FLOAT32), FLOAT32)
        so_far.seconds += time.perf_counter() - start
        if trial.failed and (shape.dimensions == 2 or trial.verdict is not None):
            so_far.found.add(target)


def worth(kind: Measured, known: set[str]) -> tuple[float, float]:
    """Return new bugs by seconds, and all bugs by seconds."""
    seconds = kind.seconds or 1.0
    return len(kind.found - known) / seconds, len(kind.found) / seconds


def in_order(
    measured: Iterable[tuple[Shape, Measured]], name: Callable[[Shape], str]
) -> list[tuple[str, Measured, int]]:
    """Put shapes of a kind together, and first what adds most bugs in a second."""
    left: dict[str, Measured] = {}
    for shape, of_shape in measured:
        left.setdefault(name(shape), Measured()).add(of_shape)
    known, ordered = set[str](), []
    while left:
        best = max(left, key=lambda k: worth(left[k], known))
        kind = left.pop(best)
        ordered.append((best, kind, len(kind.found - known)))
        known |= kind.found
    return ordered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=int, default=1000, help="how many kernels to try")
    parser.add_argument("--classes", type=int, default=1 << 20, help="the most classes of a shape")
    given = parser.parse_args()
    shapes = (*SHAPES, *(arrangement.last for arrangement in ARRANGEMENTS[1:]))
    measured = {shape: Measured(1) for shape in shapes if shape.classes <= given.classes}
    names = targets()[: given.kernels]
    for name in names:
        try_on(name, measured)
    print(f"{len(names)} seeded bugs, {len(measured)} shapes, float32")
    for title, key in (("size", size_of), ("kind", kind_of)):
        print(f"\n{title:62} shapes  s a kernel  bugs  new  bugs a s")
        for kind, of_kind, new in in_order(measured.items(), key):
            seconds = max(of_kind.seconds / len(names), 1e-9)
            figures = f"{of_kind.shapes:6} {seconds:11.3f} {len(of_kind.found):5} {new:4}"
            print(f"{kind:62} {figures} {len(of_kind.found) / seconds:9.0f}")


if __name__ == "__main__":
    main()
