from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stablemax.inputs.spec import expand, out_of_order, split_spec

if TYPE_CHECKING:
    from .conftest import Refusal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("b.npy", "a.npy", "c.npz", "run/2.npz", "run/1.npz", "run/x.safetensors"):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("specs", "found"),
    [
        (["b.npy", "a.npy"], ["b.npy", "a.npy"]),
        (["*.npy"], ["a.npy", "b.npy"]),
        (["[ab].npy", "c.npz"], ["a.npy", "b.npy", "c.npz"]),
        (["?.np?"], ["a.npy", "b.npy", "c.npz"]),
        (["run/*.npz:logits"], ["run/1.npz:logits", "run/2.npz:logits"]),
        (["run/*.safetensors:lm_head.weight"], ["run/x.safetensors:lm_head.weight"]),
        (["c.npz:logits"], ["c.npz:logits"]),
        (["**/*.npz"], ["c.npz", "run/1.npz", "run/2.npz"]),
        (["missing.npy"], ["missing.npy"]),
        (["-"], ["-"]),
        (["-:labels"], ["-:labels"]),
        (["https://host/x.npy?signature=*"], ["https://host/x.npy?signature=*"]),
        ([], []),
    ],
    ids=str,
)
def test_patterns_name_the_files_that_fit_sorted_and_the_rest_is_itself(specs: list[str], found: list[str]) -> None:
    assert [name.replace(os.sep, "/") for name in expand(specs)] == found


def test_numbers_in_names_are_in_order_as_numbers() -> None:
    names = [
        "s-0.npy",
        "s-2.npy",
        "s-10.npy",
        f"s-{'9' * 100}.npy",
        f"s-1{'0' * 100}.npy",
        "t-1.npy",
        "u1b2.npy",
        "u1b11.npy",
    ]
    for name in names:
        Path(name).touch()
    assert expand(["[stu]*.npy"]) == names


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["s-1.npy", "s-10.npy", "s-2.npy"], ("s-10.npy", "s-2.npy")),
        (["run-9/s-1.npy", "run-10/s-0.npy", "run-10/s-1.npy"], None),
        (["b-2.npy", "a-1.npy"], None),
        (["s-2.npy"], None),
        ([], None),
    ],
    ids=str,
)
def test_names_that_a_shell_sorted_as_text_are_found(names: list[str], found: tuple[str, str] | None) -> None:
    assert out_of_order(names) == found


@pytest.mark.skipif(os.name != "posix", reason="signs in names")
def test_a_file_that_is_named_like_a_pattern_is_itself() -> None:
    for name in ("x[1].npy", "*.npy", "y?.npz"):
        Path(name).touch()
    assert expand(["x[1].npy", "*.npy", "y?.npz:logits"]) == ["x[1].npy", "*.npy", "y?.npz:logits"]


@pytest.mark.parametrize("spec", ["no-*.npy", "run/*.npy", "*.npz.npz:logits", "[z].npy", "none/*"])
def test_a_pattern_that_fits_nothing_is_refused(spec: str, refusal: Refusal) -> None:
    error = refusal(expand, ["a.npy", spec])
    assert error.message == f"{spec.removesuffix(':logits')}: no file has such a name"


@pytest.mark.parametrize("specs", [["-", "a.npy"], ["*.npy", "-"], ["-", "-"], ["-:a", "-:b"]])
def test_standard_input_stands_alone(specs: list[str], refusal: Refusal) -> None:
    assert refusal(expand, specs).message == "standard input cannot be one of several files"


@pytest.mark.parametrize("spec", ["\x1b[31m*", "a\0*", "x" * 3000 + "*", "[", "[!", "***/" * 50], ids=ascii)
def test_hostile_patterns_are_refused_in_words(spec: str, refusal: Refusal) -> None:
    refusal(expand, [spec])


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("s3://bucket/x.npz:logits", ("s3://bucket/x.npz", "logits")),
        ("s3://bucket/x.npz", ("s3://bucket/x.npz", None)),
        ("https://host:8000/x.npy", ("https://host:8000/x.npy", None)),
        ("https://host:8000/x.safetensors:a:b", ("https://host:8000/x.safetensors", "a:b")),
        ("C://x.npz:a", ("C://x.npz", "a")),
    ],
)
def test_members_of_addresses_are_told_from_ports(spec: str, parts: tuple[str, str | None]) -> None:
    assert split_spec(spec) == parts
