"""The help: every option in a group, words that people can read, and examples that run."""

from __future__ import annotations

import enum
import re
import shlex
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from typer.main import get_command

from stablemax.cli.app import COMMANDS, build
from stablemax.cli.help_pages import HelpCommand
from stablemax.cli.panels import CommandPanel, Panel
from stablemax.hazards.presets import PRESETS

from .running import run

if TYPE_CHECKING:
    from pathlib import Path

ANSI = re.compile(r"\x1b\[[0-9;]*m")
METAVAR = re.compile(r"[A-Z]+(x[A-Z]+|=[A-Z]+)?")
# Not of the file that it is declared in: what each needs lies in the folder of a reader.
FILES = {
    "logits.npy": (4, 3), "other.npy": (4, 3), "output.npy": (4, 3), "targets.npy": (4, 3), "labels.npy": (4,),
}  # fmt: skip
CHEAP = ("softmax", "entropy", "help", "generate", "kl-divergence")


@pytest.fixture(scope="module")
def commands() -> dict[str, HelpCommand]:
    group: Any = get_command(build())
    return group.commands


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The page of each command at 80 columns, and under no name that of the program."""
    return {name: run(*name.split(), "--help", COLUMNS="80").out for name in ("", *COMMANDS)}


def options_of(command: HelpCommand) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "option"]


def examples_of(command: HelpCommand) -> list[str]:
    return [line for line in (command.epilog or "").splitlines() if not line.startswith("# ")]


def words_of(line: str) -> list[str]:
    """The words after `stablemax`, be there a pipe before it."""
    return shlex.split(line.rpartition("stablemax ")[2])


def parse(words: list[str]) -> None:
    """Parse a command line to its end, and run nothing."""
    group: Any = get_command(build(words[:1]))
    with group.make_context("stablemax", list(words)) as context:
        name, command, rest = group.resolve_command(context, list(words))
        with command.make_context(name, rest, parent=context):
            pass


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_a_group_and_a_metavar_that_people_can_read(
    name: str, commands: dict[str, HelpCommand], pages: dict[str, str]
) -> None:
    for option in options_of(commands[name]):
        assert option.rich_help_panel in list(Panel), f"{option.opts}: give it a `panel` where it is declared"
        if not option.is_flag:
            assert METAVAR.fullmatch(option.metavar or ""), f"{option.opts}: {option.metavar}"
    assert "<" not in pages[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_choices_of_an_option_stand_in_its_help(name: str, commands: dict[str, HelpCommand]) -> None:
    for option in options_of(commands[name]):
        kind = option.type_descriptor.annotation
        for choices in (kind, *get_args(kind)):
            if isinstance(choices, type) and issubclass(choices, enum.Enum):
                missing = [c.value for c in choices if not re.search(rf"\b{c.value}\b", option.help)]
                assert not missing, f"{option.opts}: its help names no {missing}"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_ends_with_two_examples_that_parse(
    name: str, commands: dict[str, HelpCommand], pages: dict[str, str]
) -> None:
    examples = examples_of(commands[name])
    assert len(examples) == 2
    assert all(f"stablemax {name}" in line for line in examples)
    assert pages[name].rstrip().endswith(examples[-1])
    for line in examples:
        parse(words_of(line))


@pytest.mark.parametrize("name", CHEAP)
def test_the_examples_run(
    name: str, commands: dict[str, HelpCommand], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, shape in FILES.items():
        np.save(file, np.zeros(shape, dtype=np.int64 if file == "labels.npy" else np.float64))
    np.savetxt("logits.csv", np.zeros((4, 3)), delimiter=",")
    for line in examples_of(commands[name]):
        done = run(*words_of(line))
        assert done.code == 0, (line, done)


def test_the_command_of_each_preset_parses_and_fits_a_line() -> None:
    listing = run("list", "presets", COLUMNS="80").out
    for name, preset in PRESETS.items():
        words = shlex.split(preset.command)
        assert words[words.index("--preset") + 1] == name
        parse(words)
        assert f"  command: stablemax {preset.command}\n" in listing


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_a_page_is_ascii_of_80_columns_and_no_option_is_broken(name: str, pages: dict[str, str]) -> None:
    page = pages[name]
    assert page.isascii()
    assert max(map(len, page.splitlines())) <= 80
    assert not re.search(r"\w-$", page, flags=re.MULTILINE)


def test_the_common_options_stand_before_the_others_in_the_order_of_the_groups(pages: dict[str, str]) -> None:
    page = pages["compare"]
    headings = re.findall(r"^([A-Z][A-Za-z ]+):$", page, flags=re.MULTILINE)
    assert headings[:2] == ["Arguments", "Common options"]
    assert headings[-1] == "Examples"
    assert [h for h in headings if h in list(Panel)] == [p for p in Panel if f"\n{p}:\n" in page]


def test_each_command_is_listed_in_a_group(commands: dict[str, HelpCommand], pages: dict[str, str]) -> None:
    page = pages[""]
    assert all(command.rich_help_panel in list(CommandPanel) for command in commands.values())
    assert all(re.search(rf"^  {name}  +[A-Z]", page, flags=re.MULTILINE) for name in COMMANDS)
    assert [p for p in CommandPanel if f"\n{p}:\n" in page] == list(CommandPanel)


# --- stablemax help ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["compare", "kl-divergence", "help"])
def test_help_of_a_command_is_its_page(name: str) -> None:
    assert run("help", name) == run(name, "--help")


def test_help_of_an_unknown_command_says_which_is_meant() -> None:
    done = run("help", "comapre")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: there is no command 'comapre'\nhint: did you mean compare? stablemax --help\n"


# --- colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "environment", "is_colored"),
    [
        (("compare", "--help"), {}, False),
        (("compare", "--help"), {"FORCE_COLOR": "1"}, True),
        (("compare", "--help"), {"GITHUB_ACTIONS": "true"}, False),
        (("compare", "--help", "--color", "always"), {"NO_COLOR": "1"}, True),
        (("compare", "--color=never", "--help"), {"FORCE_COLOR": "1"}, False),
        (("help", "compare", "--color", "always"), {}, True),
        (("help", "compare", "--color", "never"), {"FORCE_COLOR": "1"}, False),
    ],
    ids=str,
)
def test_the_option_then_the_environment_decides_on_the_colours_of_a_page(
    words: tuple[str, ...], environment: dict[str, Any], *, is_colored: bool
) -> None:
    done = run(*words, **environment)
    assert bool(ANSI.search(done.out)) is is_colored
    plain = run(*(w for w in words if "color" not in w and w not in ("always", "never")))
    assert ANSI.sub("", done.out) == plain.out


def test_the_page_that_stands_for_an_error_has_no_colours() -> None:
    done = run(FORCE_COLOR="1")
    assert (done.code, done.out) == (2, "")
    assert not ANSI.search(done.err)
