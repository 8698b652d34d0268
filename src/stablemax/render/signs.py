"""Signs in the characters that an encoding has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.text.outcomes import OUTCOMES, Outcome

if TYPE_CHECKING:
    from stablemax.render.document import Span

_ASCII = str.maketrans({"µ": "u", "±": "+-"})


def glyph(outcome: Outcome, *, ascii_only: bool) -> str:
    """Return the sign of an outcome."""
    words = OUTCOMES[outcome]
    return words.ascii_glyph if ascii_only else words.glyph


def readable(text: str, *, ascii_only: bool) -> str:
    """Write the signs of units with the letters that ASCII has."""
    return text.translate(_ASCII) if ascii_only else text


def spelled(span: Span, *, ascii_only: bool) -> str:
    """Return a span's text, its sign in front."""
    sign = "" if span.sign is None else glyph(span.sign, ascii_only=ascii_only)
    return sign + readable(span.text, ascii_only=ascii_only)


def style_of(span: Span) -> str:
    """Return a span's own style, or that of its sign."""
    return span.style or ("" if span.sign is None else OUTCOMES[span.sign].style)
