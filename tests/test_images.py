"""The pictures of the README are what its commands draw now.

`python -P tests/test_images.py` draws them again.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from .cli.running import run

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / ".github" / "images"
COMMANDS = {
    "first-screen": "compare --scale 1e5",
    "trace": "trace samples/numpy_loss.py:unstable_loss",
    "heatmap": "sweep --operation softmax --format float32",
    "league": "compare --hazards --peer all --variant wide --format float32",
}
needs_peers = pytest.mark.skipif(
    not all(map(find_spec, ("torch", "jax", "optax", "scipy"))), reason="needs torch, jax, optax and scipy"
)
needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
MARKS = {"league": [needs_peers, pytest.mark.slow], "heatmap": [needs_matplotlib]}


def drawn(name: str, path: Path) -> str:
    """Draw a picture, and give its text."""
    done = run(*COMMANDS[name].split(), "-q", "-o", str(path))
    assert done.code in (0, 1), done.err
    return path.read_text(encoding="utf-8")


def facts_of(picture: str) -> str:
    """What a picture says, without what the processor or the version of a library decides: figures and widths."""
    # What matplotlib draws stands in an element of its own: its ticks are its version's.
    terminal = picture.rpartition("<svg ")[0] if picture.count("<svg ") > 1 else picture
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", terminal)).replace("&#160;", " ")
    return " ".join(re.sub(r"<?\d[\d.e+-]*(\+\w+)?", "#", text).split())


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, [])) for name in COMMANDS])
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
