"""The lessons: each is a record in a file of its own; loaded when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown
from stablemax.text.suggest import suggest

if TYPE_CHECKING:
    from stablemax.lessons.lesson import Lesson

MODULES: Mapping[str, str] = {
    "overflow": "on_overflow",
    "underflow": "on_underflow",
    "shift": "on_shift",
    "logsumexp": "on_logsumexp",
    "cross-entropy": "on_cross_entropy",
    "gradient": "on_gradient",
    "jacobian": "on_jacobian",
    "cancellation": "on_cancellation",
    "half-precision": "on_half_precision",
    "masks": "on_masks",
    "softmax-collapse": "on_softmax_collapse",
    "sigmoid": "on_sigmoid",
    "online": "on_online",
    "notebook-a": "notebook_a",
    "notebook-b": "notebook_b",
    "notebook-c": "notebook_c",
    "notebook-d": "notebook_d",
    "notebook-e": "notebook_e",
}
"""The module of each lesson, by its name, in the order in which they are taken: known without NumPy."""


def get_lesson(name: str) -> Lesson:
    """Look a lesson up by its name.

    >>> get_lesson("overflow").name
    'overflow'
    """
    if name not in MODULES:
        raise StablemaxError(
            f"there is no lesson {shown(name)!r}", suggest(name, MODULES, "stablemax lesson lists them")
        )
    lesson: Lesson = importlib.import_module(f"{__name__}.{MODULES[name]}").LESSON
    return lesson


def all_lessons() -> tuple[Lesson, ...]:
    """Return every lesson, in the order in which they are taken."""
    return tuple(map(get_lesson, MODULES))
