"""Pictures show what the terminal shows, in light and in dark, and are the same bytes at every run."""

from __future__ import annotations

import html
import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.color_triplet import ColorTriplet
from rich.terminal_theme import TerminalTheme

from stablemax.render import document as doc
from stablemax.render.console import Surface
from stablemax.render.screen_pictures import DARK, LIGHT, as_html, as_svg
from stablemax.render.terminal import written
from stablemax.text.outcomes import Grade, Outcome

from ..cli.running import assert_refused, run

SIGNS = [[doc.Span(f" {sign}", sign=sign)] for sign in (*Outcome, *Grade)]
DOCUMENT: doc.Document = [
    [doc.Finding("softmax <naive> breaks & is NaN"), doc.Facts(["dim: 1 < 2"]), doc.Lines(SIGNS)],
    [doc.Command(("stablemax", "compare", *(f"--{'long' * 30}",)))],
]
with_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


def words(text: str) -> list[str]:
    return text.replace("\N{NO-BREAK SPACE}", " ").split()


def test_a_picture_has_every_word_of_the_terminal_and_wraps_no_command() -> None:
    on_terminal = words(written(DOCUMENT, Surface(80)))
    page = html.unescape(re.sub("<[^>]*>", "", as_html(DOCUMENT, 80).partition("<pre>")[2]))
    assert words(page) == on_terminal
    drawing = ET.fromstring(as_svg(DOCUMENT, 80))
    texts = [t.text or "" for t in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert words(" ".join(texts)) == on_terminal
    assert any("long" * 30 in text for text in texts)


@pytest.mark.parametrize("picture", [as_svg, as_html], ids=["svg", "html"])
def test_a_picture_needs_no_network_and_has_colours_for_light_and_for_dark(picture: object) -> None:
    text = picture(DOCUMENT, 80)  # type: ignore[operator]
    assert re.findall(r"https?://\S+?(?=[\s\"'])", text) in ([], ["http://www.w3.org/2000/svg"])
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    for theme, part in ((LIGHT, light), (DARK, dark)):
        assert theme.background_color.hex in part
        assert theme.ansi_colors[1].hex in part
    classes = [re.findall(r"^\.(?:stablemax-)?(r\d+) ", part, re.MULTILINE) for part in (light, dark)]
    assert classes[0] == classes[1] != []


def luminance(color: ColorTriplet) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_colour_has_the_contrast_that_people_need(theme: TerminalTheme) -> None:
    back = luminance(theme.background_color)
    # Black of a dark terminal is written by nobody.
    for index in range(1, 9):
        front = luminance(theme.ansi_colors[index])
        assert (max(front, back) + 0.05) / (min(front, back) + 0.05) >= 4.5, index


@pytest.mark.parametrize(
    "ending", ["svg", "html", pytest.param("png", marks=with_matplotlib), pytest.param("pdf", marks=with_matplotlib)]
)
def test_a_file_is_the_same_bytes_at_every_run(ending: str, tmp_path: Path) -> None:
    pictures = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{ending}"
        assert run("compare", "--preset", "notebook-c", "-o", str(path)).code == 0
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(
        {"svg": b"<svg", "html": b"<!DOCTYPE html>", "png": b"\x89PNG", "pdf": b"%PDF"}[ending]
    )


@with_matplotlib
def test_a_drawn_picture_is_as_wide_as_the_terminal(tmp_path: Path) -> None:
    sizes = []
    for columns in ("80", "160"):
        path = tmp_path / f"{columns}.png"
        assert run("list", "formats", "-o", str(path), COLUMNS=columns).code == 0
        sizes.append(int.from_bytes(path.read_bytes()[16:20]))
    assert sizes[0] < sizes[1]


@with_matplotlib
def test_the_picture_of_a_sweep_has_its_curves_beneath_the_terminal_the_same_at_every_run(tmp_path: Path) -> None:
    sweep = ("sweep", "--operation", "softmax", "--format", "float16", "--variant", "shifted", "--steps", "5")
    texts = []
    for name in ("a.svg", "b.svg", "c.html", "d.html"):
        assert run(*sweep, "-o", str(tmp_path / name)).code == 0
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    for text in texts:
        assert "softmax in float16: error and bound" in text
        assert "softmax/shifted, bound" in text
    outer, inner = (next(e.iter()) for e in (ET.fromstring(texts[0]), _inner(texts[0])))
    top, height = float(inner.attrib["y"]), float(inner.attrib["height"])
    assert float(outer.attrib["viewBox"].split()[3]) == pytest.approx(top + height, rel=1e-5)


def _inner(picture: str) -> ET.Element:
    (inner,) = (e for e in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}svg") if "y" in e.attrib)
    return inner


def test_a_curve_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_matplotlib(monkeypatch)
    done = run("sweep", "--operation", "softmax", "--format", "float16", "--steps", "3", "-o", str(tmp_path / "a.svg"))
    assert_refused(done, "a curve needs matplotlib", 'pip install "stablemax[plot]"')
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_text_goes_to_a_file() -> None:
    for name in ("png", "pdf"):
        assert_refused(
            run("compare", "--output-format", name), f"--output-format {name} is for files", f"-o FILE.{name}"
        )


def test_without_matplotlib_the_hint_is_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_matplotlib(monkeypatch)
    done = run("compare", "-o", str(tmp_path / "a.png"))
    assert_refused(done, "png needs matplotlib", 'pip install "stablemax[plot]"')
    assert list(tmp_path.iterdir()) == []


def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
