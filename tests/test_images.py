"""The pictures of the README are what its commands draw now.

`python -P tests/test_images.py` draws them again.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from stablemax.operations import all_operations

from .cli.running import run

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / ".github" / "images"
COMMANDS = {
    "first-screen": "compare --scale 1e5",
    "trace": "trace samples/numpy_loss.py:unstable_loss",
    "heatmap": "sweep --operation softmax --format float32",
    "league": "compare --hazards --peer all --variant wide --format float32",
    "benchmark": "bench --shape 2048x32768 --threads 2 --peer all",
}
needs_peers = pytest.mark.skipif(
    not all(map(find_spec, ("torch", "jax", "optax", "scipy"))), reason="needs torch, jax, optax and scipy"
)
needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
MARKS = {"league": [needs_peers, pytest.mark.slow], "heatmap": [needs_matplotlib]}
TIMED = "benchmark"
"""Its times, and whose are shorter, are facts of a machine: what is timed is compared alone, on little work."""


def drawn(name: str, path: Path) -> str:
    """Draw a picture, and give its text."""
    done = run(*COMMANDS[name].split(), "-q", "-o", str(path))
    assert done.code == (1 if name == "trace" else 0), done.err
    return path.read_text(encoding="utf-8")


def facts_of(picture: str) -> str:
    """What a picture says, without what the processor or the version of a library decides: figures and widths."""
    # What matplotlib draws stands in an element of its own: its ticks are its version's.
    terminal = picture.rpartition("<svg ")[0] if picture.count("<svg ") > 1 else picture
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", terminal)).replace("&#160;", " ")
    return " ".join(re.sub(r"<?\d[\d.e+-]*(\+\w+)?", "#", text).split())


def timed_in(picture: str) -> set[str]:
    """The operations and libraries of a benchmark."""
    names = {*(o.name for o in all_operations() if o.timed), "stablemax", "torch", "jax", "scipy", "numpy"}
    return names & set(facts_of(picture).split())


@pytest.mark.slow
@needs_peers
def test_the_picture_of_the_benchmark_has_what_its_command_times(tmp_path: Path) -> None:
    small = COMMANDS[TIMED].replace("2048x32768", "8x16").split()
    # Each operation takes JAX a second to compile.
    few = ("--operation", "softmax", "--operation", "cross_entropy", "--repeat", "1", "-q")
    assert run(*small, *few, "-o", str(tmp_path / "a.svg")).code == 0
    kept = timed_in((IMAGES / f"{TIMED}.svg").read_text(encoding="utf-8"))
    timed = {o.name for o in all_operations() if o.timed}
    assert timed_in((tmp_path / "a.svg").read_text(encoding="utf-8")) == kept - timed | {"softmax", "cross_entropy"}
    assert kept >= timed


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, [])) for name in COMMANDS if name != TIMED])
def test_a_picture_of_the_readme_is_what_its_command_draws(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    kept = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
    assert facts_of(drawn(name, tmp_path / "a.svg")) == facts_of(kept)
    assert len(facts_of(kept)) > 200


def test_every_picture_has_a_command_and_is_shown() -> None:
    assert {path.stem for path in IMAGES.iterdir()} == set(COMMANDS)
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", ".github/GUIDE.md"))
    for name in COMMANDS:
        assert f"images/{name}.svg" in pages


if __name__ == "__main__":
    for each in COMMANDS:
        drawn(each, IMAGES / f"{each}.svg")
