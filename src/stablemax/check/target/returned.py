"""What a function returns where that is no single array: a tuple, a dictionary, an object with fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

Pick = int | str | None
"""The item of what is returned that is judged, by its place or its name; None for all of it."""


class SeveralItemsError(TypeError):
    """A function returned several items, and nobody said which is meant."""

    def __init__(self, value: Any, items: Mapping[int | str, tuple[int, ...]]) -> None:
        super().__init__(f"returned {_kind(value)}, not an array")
        self.kind = _kind(value)
        #: The shape of each item that is an array, by its place or its name.
        self.items = dict(items)


class NoSuchItemError(TypeError):
    """What was returned has no such item."""

    def __init__(self, value: Any, pick: Pick) -> None:
        self.names = [str(name) for name in _items(value)]
        super().__init__(f"returned {_kind(value)}, which has no item {pick}")


def pick_of(text: str | None) -> Pick:
    """Read --pick: a place, or a name.

    >>> pick_of("0"), pick_of("-1"), pick_of("loss"), pick_of(None)
    (0, -1, 'loss', None)
    """
    if text is None:
        return None
    return int(text) if text.removeprefix("-").isdecimal() else text


def item_of(value: Any, pick: Pick) -> Any:
    """Return the picked item; raise `SeveralItemsError` where one must be picked, `NoSuchItemError` where it lacks."""
    if pick is None:
        items = _items(value)
        if items:
            raise SeveralItemsError(
                value, {name: shape for name, item in items.items() if (shape := _shape(item)) is not None}
            )
        return value
    if isinstance(value, Mapping) and pick in value:
        return value[pick]
    if isinstance(pick, str) and not isinstance(value, Mapping) and hasattr(value, pick):
        return getattr(value, pick)
    if isinstance(pick, int) and isinstance(value, (tuple, list)) and -len(value) <= pick < len(value):
        return value[pick]
    raise NoSuchItemError(value, pick)


def item_text(pick: Pick) -> str:
    """Write what takes the picked item, behind a call."""
    return "" if pick is None else f"[{pick!r}]".replace("'", '"')


def _items(value: Any) -> dict[int | str, Any]:
    """Return the items of a tuple, a list of different arrays, a dictionary or a record; none of one array."""
    if isinstance(value, Mapping):
        return {name if isinstance(name, int) else str(name): item for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=False))
    if isinstance(value, tuple) or (isinstance(value, list) and _is_ragged(value)):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and _shape(value) is None:
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {}


def _is_ragged(items: list[Any]) -> bool:
    """True for a list of arrays that are not of one shape: no array can be made of it."""
    shapes = [_shape(item) for item in items]
    return len(items) > 1 and None not in shapes and len(set(shapes)) > 1 and any(hasattr(i, "shape") for i in items)


def _shape(item: Any) -> tuple[int, ...] | None:
    """Return the shape of a number or an array of any library; None for what is neither."""
    if isinstance(item, (int, float, np.generic)) and not isinstance(item, bool):
        return ()
    shape = getattr(item, "shape", None)
    try:
        return None if shape is None else tuple(int(n) for n in shape)
    except TypeError:
        return None


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1] in "AEIOUaeiou" else f"a {name}"
