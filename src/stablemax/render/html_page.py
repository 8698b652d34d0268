"""A page that needs no other file: its style and its script stand in it, and nothing else may run or be loaded."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from stablemax.render.html_elements import Html, element, joined, sign_class
from stablemax.text.outcomes import Grade, Outcome, sign_words

if TYPE_CHECKING:
    from rich.terminal_theme import TerminalTheme

_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


@dataclass(frozen=True)
class Part:
    """A section of a page with its title."""

    id: str
    title: str
    body: Html


def html_page(
    title: str, lead: Html, parts: Sequence[Part], columns: Sequence[str], outcomes: Sequence[tuple[str, str]]
) -> str:
    """Write a page: its title, what comes first, links to its parts, controls for its tables, and the parts."""
    files = resources.files("stablemax.render")
    style = f"{_palette()}\n{files.joinpath('page.css').read_text('utf-8')}"
    script = files.joinpath("page.js").read_text("utf-8")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'"
    sections = [element("section", element("h2", p.title), "\n", p.body, id=p.id, aria_label=p.title) for p in parts]
    links = [element("li", element("a", part.title, href=f"#{part.id}")) for part in parts]
    body = [
        element("header", element("h1", title), lead, element("nav", element("ul", *links), aria_label="parts")),
        _controls(columns, outcomes),
        element("main", joined(sections, "\n")),
    ]
    head = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", title),
        Html(f"<style>\n{style}</style>"),
    ]
    return "\n".join(
        ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body,
         f"<script>{script}</script>", "</body>", "</html>", ""]
    )  # fmt: skip


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _controls(columns: Iterable[str], outcomes: Iterable[tuple[str, str]]) -> Html:
    """Write the controls; the script shows them, for without it they do nothing."""
    status = element("output", id="shown", for_="column outcome")
    button = element("button", "Open all details", type="button", id="open-all", aria_pressed="false")
    return element(
        "form",
        *_select("column", "Format", "all formats", [(column, column) for column in columns]),
        *_select("outcome", "Outcome", "all outcomes", outcomes),
        button,
        status,
        class_="controls",
        hidden="",
        aria_label="what the tables show",
    )


def _select(name: str, label: str, every: str, options: Iterable[tuple[str, str]]) -> list[Html]:
    chosen = [element("option", every, value=""), *(element("option", text, value=value) for value, text in options)]
    return [element("label", label, for_=name), element("select", *chosen, id=name)]


def _palette() -> str:
    """Write the colours of signs and words, in light and in dark."""
    from stablemax.render.screen_pictures import DARK, LIGHT

    signs: list[Outcome | Grade] = [*Outcome, *Grade]
    rules = [f".{sign_class(sign)} {{ {_declared(sign_words(sign).style)} }}" for sign in signs]
    names = [f".{name} {{ color: var(--{name}) }}" for name in _COLORS]
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}"
    light = f"@media print {{ :root {{ {_variables(LIGHT)} }} }}"
    return "\n".join([f":root {{ {_variables(LIGHT)} }}", dark, light, *names, *rules])


def _variables(theme: TerminalTheme) -> str:
    colors = {name: theme.ansi_colors[i] for i, name in enumerate(_COLORS)}
    named = {name: f"rgb{tuple(color)}" for name, color in colors.items()}
    grey = f"rgb{tuple(theme.ansi_colors[8])}"
    every = {"text": theme.foreground_color.hex, "page": theme.background_color.hex, "grey": grey, **named}
    return "; ".join(f"--{name}: {value}" for name, value in every.items())


def _declared(style: str) -> str:
    """Write a style of the terminal, as in `bold red`, as declarations.

    >>> _declared("bold red"), _declared("dim")
    ('font-weight: 600; color: var(--red)', 'color: var(--grey)')
    """
    words = {"bold": "font-weight: 600", "dim": "color: var(--grey)", "": ""}
    return "; ".join(words.get(word, f"color: var(--{word})") for word in style.split(" "))
