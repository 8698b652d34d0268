"""The line that is typed, as a shell hands it over where the tab key is pressed; loaded at every start."""

from __future__ import annotations

from collections.abc import Mapping

COMPLETION = "_STABLEMAX_COMPLETE"
"""The variable that a shell sets where it asks; Typer's name for it."""


def typed_words(environment: Mapping[str, str]) -> list[str]:
    """Return the words of the line before the one that is completed.

    >>> typed_words({"COMP_WORDS": "stablemax compare --pre", "COMP_CWORD": "2"})
    ['stablemax', 'compare']
    >>> typed_words({"_TYPER_COMPLETE_ARGS": "stablemax comp"})
    ['stablemax']
    """
    if "COMP_CWORD" in environment:
        return _split(environment["COMP_WORDS"])[: int(environment["COMP_CWORD"])]
    line = environment.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(line)
    return words if not words or line.endswith(" ") else words[:-1]


def functions_after_colon(environment: Mapping[str, str]) -> str | None:
    """Return the functions of a file that stands before a colon, a line each; None where no file does.

    Bash takes the colon for the end of a word, so that Typer would not know that a function is meant.
    """
    if "COMP_CWORD" not in environment:
        return None
    words = _split(environment["COMP_WORDS"])[: int(environment["COMP_CWORD"]) + 1]
    begun = "" if words[-1:] == [":"] else (words or [""]).pop()
    if len(words) < 2 or words[-1] != ":":
        return None
    return "".join(f"{name}\n" for name in functions_of(words[-2], begun) if name.startswith(begun))


def functions_of(file: str, begun: str) -> list[str]:
    """Name what a file of Python code defines; what is private only where its first letter is typed."""
    from pathlib import Path

    from stablemax.text.errors import StablemaxError
    from stablemax.text.python_files import ENDINGS, defined_names

    if not file.endswith(ENDINGS):
        return []
    try:
        names = defined_names(Path(file).expanduser())
    except (OSError, SyntaxError, ValueError, StablemaxError):
        return []
    return [name for name in names if begun.startswith("_") or not name.startswith("_")]


def _split(line: str) -> list[str]:
    """Split a line as a shell does; a quote that is still open stands for itself."""
    import shlex

    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
