"""The records of file formats: what they say is what everything else reads, and a new one is one record."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from stablemax.inputs.file_format import NAMES, FileFormat, OpenedFile
from stablemax.inputs.formats import FORMATS
from stablemax.inputs.open import open_array
from stablemax.inputs.spec import expand, split_spec
from stablemax.inputs.stored import StoredArray

from ..cli.running import run
from ..plugging import plug_in

if TYPE_CHECKING:
    from .conftest import Refusal


def open_new(file: OpenedFile) -> StoredArray:
    """A format of JSON: members by name, each a list of rows."""
    members = json.loads(cast("io.BufferedReader", file.stream).read())
    name = file.member or next(iter(members))
    return StoredArray.of(np.array(members[name]), file.name, format="new")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = FileFormat("new", "rows in JSON", (".new",), open_new, members="array")
    plug_in(monkeypatch, record)
    monkeypatch.chdir(tmp_path)
    Path("x.new").write_text(json.dumps({"logits": [[1.0, 2.0], [3.0, 1.0]], "other": [[0.0, 0.0], [0.0, 0.0]]}))
    np.save("x.npy", np.array([[1.0, 2.0], [3.0, 1.0]]))
    np.save("labels.npy", np.array([0, 1]))


@pytest.mark.slow
@pytest.mark.usefixtures("desk")
def test_a_format_of_one_more_record_is_read_by_its_ending_its_option_and_from_a_pipe(refusal: Refusal) -> None:
    expected = run("loss", "x.npy", "labels.npy")
    assert expected.code == 0
    assert run("loss", "x.new", "labels.npy") == expected
    assert run("loss", "x.new:logits", "labels.npy") == expected
    assert run("loss", "x.new:other", "labels.npy").out != expected.out
    assert run("compare", "x.new", "labels.npy").code == run("compare", "x.npy", "labels.npy").code
    Path("x.dat").write_bytes(Path("x.new").read_bytes())
    assert run("loss", "x.dat", "labels.npy", "--input-format", "new") == expected
    piped = open_array("-", input_format="new", stdin=io.BytesIO(Path("x.new").read_bytes()))
    assert piped.array.tolist() == [[1, 2], [3, 1]]
    assert split_spec("s3://there/x.new:logits") == ("s3://there/x.new", "logits")
    assert expand(["*.new:other"]) == ["x.new:other"]
    assert "new (rows in JSON)" in refusal(open_array, "x", input_format="xlsx").hint
    assert "and .new files have members" in refusal(open_array, "labels.npy:a").hint


def test_the_names_that_the_command_line_knows_are_those_of_the_records() -> None:
    assert tuple(FORMATS) == NAMES
    for name, record in FORMATS.items():
        assert record.name == name
        assert record.endings[0] == f".{name}"


def test_no_two_formats_share_an_ending() -> None:
    endings = [ending for record in FORMATS.values() for ending in record.endings]
    assert len(set(endings)) == len(endings)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)
