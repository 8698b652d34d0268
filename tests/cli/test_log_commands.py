"""Logs of CI: nothing that comes from files, code or what code prints is a command to GitHub's runner."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import stablemax

from .running import run

LOGITS, OUTPUT, CODE = "a ::error::b.npy", "y##[error]q\u202e.npy", "k ::error::z.py"
COMMAND = re.compile(r"^\s*::|##\[|\u202e", re.MULTILINE)
OUR_OWN = re.compile(r"^::(error|warning|notice) .*\n", re.MULTILINE)
PRINTS = '''
import numpy as np

def softmax(x):
    """Doc ::error::boo."""
    print("hello\\n::error::printed\\n  ::warning::x ##[error]w")
    e = np.exp(x)  # ::error:: ##[error]hi
    return e / e.sum(-1, keepdims=True)

def raises(x):
    print("::error::printed ##[error]w")
    raise ValueError("oops ::error::in ##[error] \\n::error::line")
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    x = np.array([[0.0, 100.0], [1.0, 2.0]], np.float32)
    np.save(folder / LOGITS, x)
    np.save(folder / OUTPUT, stablemax.softmax(x) * np.float32(1.01))
    (folder / CODE).write_text(PRINTS, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("output_format", "columns"),
    [
        *((name, "40") for name in ("table", "plain", "markdown", "json", "ndjson", "csv", "junit", "github")),
        # What is wrapped elsewhere; files for programs have no width.
        *((name, "100") for name in ("table", "plain")),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("judge", LOGITS, OUTPUT, "--operation", "softmax"),
        ("inspect", LOGITS),
        ("trace", f"{CODE}:softmax", LOGITS),
        ("check", f"{CODE}:raises", "--operation", "softmax", "--format", "float32"),
        ("compare", LOGITS, "--format", "float32"),
        ("loss", LOGITS, "absent ::error:: ##[error].npy"),
    ],
    ids=lambda words: words[0],
)
def test_no_line_of_any_output_is_a_command(
    command: tuple[str, ...], output_format: str, columns: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = run(*command, "--output-format", output_format, COLUMNS=columns)
    assert done.code in (0, 1, 2)
    out = OUR_OWN.sub("", done.out) if output_format == "github" else done.out
    assert not COMMAND.search(out), out
    assert not COMMAND.search(done.err), done.err


def test_json_and_xml_read_back_what_a_target_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    asked = ("check", f"{CODE}:softmax", "--operation", "softmax", "--format", "float32", "--output-format")
    printed = json.loads(run(*asked, "json").out)["printed"]
    assert "hello\n::error::printed\n  ::warning::x ##[error]w" in printed
    failing = ("check", f"{CODE}:raises", *asked[2:])
    top = ET.fromstring(run(*failing, "junit").out)
    text = "\n".join(part for element in top.iter() for part in (element.text or "", *element.attrib.values()))
    assert "::error::in ##[error]" in text
