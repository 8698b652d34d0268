"""HTML elements as text: whatever is no element is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from stablemax.render.document import Span
from stablemax.text.outcomes import Grade, Outcome, sign_words


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | None) -> Html:
    """Write an element; a child that is no element is text, and an attribute that is None is left out.

    An attribute loses a closing underscore, and other underscores are hyphens.

    >>> print(element("p", "a < b", class_="x", data_rank="1"))
    <p class="x" data-rank="1">a &lt; b</p>
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{written}>{joined(children)}</{tag}>")


def joined(children: Iterable[str], separator: str = "") -> Html:
    """Write elements and text one after another."""
    return Html(separator.join(child if isinstance(child, Html) else html.escape(child) for child in children))


def with_links(text: str) -> Html:
    """Make links of the addresses in a text.

    >>> print(with_links("doi: https://doi.org/10/x."))
    doi: <a href="https://doi.org/10/x" rel="noreferrer">https://doi.org/10/x</a>.
    """
    pieces = re.split(r"(https?://[^\s<>]*[^\s<>.,;:)])", text)
    return joined(
        element("a", piece, href=piece, rel="noreferrer") if place % 2 else piece for place, piece in enumerate(pieces)
    )


def sign_class(sign: Outcome | Grade) -> str:
    """Return the class of what is about an outcome or a grade."""
    return f"is-{sign.value}"


def spelled(span: Span) -> Html:
    """Write a span: its sign, its text and its colour."""
    if span.sign is None:
        return element("span", span.text, class_=span.style) if span.style else joined([span.text])
    glyph = element("span", sign_words(span.sign).glyph, class_="glyph", aria_hidden="true")
    return element("span", glyph, span.text, class_=span.style or sign_class(span.sign))


def scrolled(name: str, *children: str) -> Html:
    """Give what may be wider than the screen a box of its own that scrolls, by keyboard too."""
    return element("div", *children, class_="scroll", role="region", aria_label=name, tabindex="0")


def details(summary: str, *children: str, **attributes: str | None) -> Html:
    """Write what a reader may open."""
    return element("details", element("summary", summary), *children, **attributes)
