"""The terminal: colours, width and character set, decided once."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from stablemax.render.document import Span
from stablemax.text.outcomes import sign_words

if TYPE_CHECKING:
    from rich.console import RenderableType

DEFAULT_WIDTH = 80
_ASCII = str.maketrans({"µ": "u", "±": "+-"})


@dataclass(frozen=True)
class Surface:
    """The abilities of a terminal or a file: its width, its colours, its characters."""

    #: Columns
    width: int = DEFAULT_WIDTH
    #: Colours are wanted and possible
    color: bool = False
    #: The encoding cannot show our signs
    ascii_only: bool = False

    def readable(self, text: str) -> str:
        """Write the signs of units in letters where only ASCII can be shown."""
        return text.translate(_ASCII) if self.ascii_only else text

    def spelled(self, span: Span) -> str:
        """Return a span's text, the sign of its outcome or grade in front."""
        text = self.readable(span.text)
        if span.sign is None:
            return text
        words = sign_words(span.sign)
        return (words.ascii_glyph if self.ascii_only else words.glyph) + text


def wants_color(mode: str, stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Decide on colour: the option, then NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE, CLICOLOR, the terminal.

    >>> wants_color("auto", io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"})
    False
    >>> wants_color("always", io.StringIO(), {"NO_COLOR": "1"})
    True
    """
    if mode != "auto":
        return mode == "always"
    # https://no-color.org: present and not empty. FORCE_COLOR=0 is a no (as in Node.js).
    if environment.get("NO_COLOR"):
        return False
    for force in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if environment.get(force):
            return environment[force] not in ("0", "false")
    if environment.get("CLICOLOR") == "0" or environment.get("TERM") == "dumb":
        return False
    return stream.isatty()


def surface(mode: str, *, to_file: bool = False) -> Surface:
    """Look at standard output, or at a file of its own: in UTF-8, without a terminal's width."""
    stream = io.StringIO() if to_file else sys.stdout
    encoding = "utf-8" if to_file else (getattr(stream, "encoding", None) or "ascii")
    width = DEFAULT_WIDTH
    if os.environ.get("COLUMNS", "").isdigit() and int(os.environ["COLUMNS"]) > 0:
        width = int(os.environ["COLUMNS"])
    elif stream.isatty():
        width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns
    return Surface(max(width, 40), wants_color(mode, stream, os.environ), not _can_show(encoding))


def _can_show(encoding: str) -> bool:
    # cp1252 has an en dash but no check mark: ask for all that we use.
    try:
        "✓✗≈∅▲○–─│".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def printed(renderables: list[RenderableType], on: Surface) -> str:
    """Render to text with the surface's width and colours."""
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        width=on.width,
        force_terminal=on.color,
        no_color=not on.color,
        color_system="standard" if on.color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        # Rich replaces box characters where the encoding has none; a StringIO has every one.
        safe_box=True,
        _environ={},
    )
    with console.capture() as capture:
        for renderable in renderables:
            console.print(renderable)
    text = capture.get()
    lines = [line.rstrip() for line in text.split("\n")] if not on.color else text.split("\n")
    text = "\n".join(lines)
    return text.encode("ascii", "backslashreplace").decode("ascii") if on.ascii_only else text
