"""Nothing stands in a table that its legend does not explain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.render.console import Surface
from stablemax.render.document import Table
from stablemax.render.terminal import written
from stablemax.text.outcomes import GRADES, OUTCOMES

from ..cli.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator

GLYPHS = "".join({*(words.glyph for words in OUTCOMES.values()), *(words.glyph for words in GRADES.values())})
# What a cell says beside its sign, up to a figure.
CELL = re.compile(rf"([{GLYPHS}]) ([a-z]+|NaN)")
ENTRY = re.compile(rf"([{GLYPHS}]) ([A-Za-z ,]+): ")
CODE = """\
import numpy as np
def softmax(x):
    if x.dtype == np.float64:
        raise TypeError("no float64")
    if x.shape[-1] == 1:
        return "junk"
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)
"""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work where the files that the commands name are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("legends"))
        np.save("x.npy", np.array([[0.0, 20.0, -20.0], [1.0, 2.0, 3.0], [-np.inf, -np.inf, -np.inf]]))
        np.save("p.npy", np.array([[0.0, 1.0, 0.0], [0.1, 0.2, np.nan], [0.0, np.inf, 0.5]], dtype=np.float16))
        Path("my.py").write_text(CODE, encoding="utf-8")
        yield


@pytest.mark.parametrize(
    "command",
    [
        "judge x.npy p.npy --operation softmax",
        "inspect x.npy --format float8_e4m3fn --format float16",
        "inspect --scale 1e5 --rows 3 --format float16",
        "compare --hazards --operation logsumexp --variant naive --variant shifted --format float16",
        pytest.param(
            "check my.py:softmax --only one-class --only large-offset-tie --no-search --details",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_each_sign_and_unit_of_a_table_is_explained_beneath_it(command: str) -> None:
    text = " ".join(run(*command.split(), COLUMNS="80").out.split())
    entries = [(glyph, words.split(", ")) for glyph, words in ENTRY.findall(text)]
    shown = set(CELL.findall(text))
    assert shown
    for glyph, word in shown:
        said = [words for sign, words in entries if sign == glyph]
        assert any(word in " ".join(words).split() for words in said), f"{glyph} {word} is not explained: {text}"
    assert ("1 ulp: " in text) is bool(re.search(r"[\d.]+ ulp(?! or|:)", text))
    for word in ("range ends", "raised", "junk", "not run", "spread", "gap", "tied"):
        assert word not in text or f"{word}: " in text, f"{word} is not explained: {text}"


def test_each_header_of_the_list_of_formats_is_explained() -> None:
    listing, _, legend = run("list", "formats", COLUMNS="200").out.partition("\n\n")
    headers = re.split(r"  +", listing.splitlines()[0].strip())[1:]
    assert len(headers) == 9
    assert [entry.partition(":")[0] for entry in " ".join(legend.split("\n")).split("; ")] == headers


def test_a_trace_explains_its_unit() -> None:
    assert "1 ulp: the distance between" in " ".join(
        run("trace", "softmax/shifted", "--preset", "notebook-c").out.split()
    )


def test_no_word_of_a_short_column_is_cut_beside_a_long_one() -> None:
    table = Table(["name", "reason", "of"], [["one", "word " * 40, "everything"], ["two", "word " * 80, "all"]])
    assert "everything" in written([[table]], Surface(40))
    assert " all" in written([[table]], Surface(30))


def test_a_column_that_is_copied_is_never_broken() -> None:
    command = "stablemax compare --scale 1e5"
    table = Table(["name", "command"], [["word " * 9, command]], whole=("command",))
    assert all(command in written([[table]], Surface(width)) for width in (40, 60, 80))
