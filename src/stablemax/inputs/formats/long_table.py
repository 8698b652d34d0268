"""Long tables: a line of row, class and value for each logit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stablemax.inputs.foreign_text import brief, listed
from stablemax.inputs.formats.table_cells import is_number
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

# Not id and label: id, label, score is a wide table, too, with the label of each row.
_TITLES = (
    frozenset({"row", "sample", "example", "i", "n"}),
    frozenset({"class", "column", "col", "j", "k"}),
    frozenset({"value", "logit", "logits", "score"}),
)


def is_long(header: Sequence[str]) -> bool:
    """Whether a header names a row, a class and a value, in this order.

    >>> is_long(("row", "class", "logit")), is_long(("cat", "dog", "bird"))
    (True, False)
    """
    return len(header) == 3 and all(title.lower() in known for title, known in zip(header, _TITLES, strict=True))


SAMPLE = 50
"""Lines that are looked at for names."""


class Numbering:
    """Numbers for the names of rows and of classes, in the order in which they first appear.

    The classes are put into the order of their names afterwards, which is that of another file with the same names.
    """

    def __init__(self, lines: Sequence[Sequence[str]]) -> None:
        """Find out from some lines which columns hold names."""
        cells = (pair for line in lines for pair in enumerate(line[:2]))
        named = {column for column, cell in cells if cell and not is_number(cell)}
        self._names: dict[int, dict[str, int]] = {column: {} for column in sorted(named)}

    @property
    def has_names(self) -> bool:
        """Whether a column holds names."""
        return bool(self._names)

    def numbered(self, cells: Sequence[str]) -> list[str]:
        """Put numbers in the place of the names on a line.

        >>> numbering = Numbering([["7", "dog", "0.5"]])
        >>> [numbering.numbered(["7", name, "0.5"]) for name in ("dog", "cat", "dog")]
        [['7', '0', '0.5'], ['7', '1', '0.5'], ['7', '0', '0.5']]
        """
        out = list(cells)
        for column, numbers in self._names.items():
            if column < len(out):
                out[column] = str(numbers.setdefault(out[column], len(numbers)))
        return out

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, as they appear; none where they are counted."""
        return tuple(self._names.get(1, ()))

    def notes(self, name: str) -> list[str]:
        """Say which names have which numbers."""
        rows, classes = self._names.get(0, ()), sorted(self.class_names)
        return [
            *([f"{name}: rows are numbered as they appear ({with_numbers(tuple(rows))})"] if rows else []),
            *(
                [f"{name}: classes are numbered in the order of their names ({with_numbers(classes)})"]
                if classes
                else []
            ),
        ]


def with_numbers(names: Sequence[str]) -> str:
    """List names with their numbers.

    >>> with_numbers(["cat", "dog"])
    'cat = 0, dog = 1'
    """
    return listed((f"{title} = {number}" for number, title in enumerate(names)), 200)


def widened(stored: StoredArray) -> StoredArray:
    """Return a long table (N * K, 3) as logits (N, K); refuse one that lacks a class of a row, or has it twice."""
    order, rows, classes = _order(stored.array, stored.name, stored.class_names)
    logits = stored.array[order, 2].reshape(rows, classes)
    logits.flags.writeable = False
    note = f"{stored.name}: lines of row, class and value taken as {counted(rows, 'row')} x {counted(classes, 'class')}"
    class_names = tuple(sorted(stored.class_names))
    return replace(
        stored, shape=logits.shape, memory=logits, path="", class_names=class_names, notes=(*stored.notes, note)
    )


def widened_cells(lines: Sequence[Sequence[str]], name: str) -> Iterator[list[str]]:
    """Give the values of a long table row by row, as they are printed."""
    numbering = Numbering(lines[:SAMPLE])
    table = np.array([list(map(float, numbering.numbered(line))) for line in lines])
    order, _, classes = _order(table, name, numbering.class_names)
    values = [lines[place][2] for place in order.tolist()]
    for start in range(0, len(values), classes):
        yield values[start : start + classes]


def _order(table: Array, name: str, class_names: Sequence[str]) -> tuple[Array, int, int]:
    """Return the lines in the order of the rows, and how many rows and classes there are.

    Classes that have names, by the numbers of the table, are put into the order of these.
    """
    numbers, hint = table[:, :2], "count rows and classes from 0; --header reads the three columns as classes"
    with np.errstate(invalid="ignore"):
        wrong = ~((numbers >= 0) & (numbers < len(table)) & (numbers == np.floor(numbers))).all(axis=1)
    if wrong.any():
        row, column = table[np.argmax(wrong), :2].tolist()
        raise StablemaxError(f"{name}: is a table of row, class and value, but has row {row:g}, class {column:g}", hint)
    row_of, class_of = numbers.T.astype(np.int64)
    if class_names:
        class_of = np.argsort(np.argsort(class_names))[class_of]
    rows, classes = int(row_of.max()) + 1, int(class_of.max()) + 1
    order = np.lexsort((class_of, row_of))
    places = (row_of * classes + class_of)[order]
    expected = np.arange(min(len(places), rows * classes))
    differs = places[: len(expected)] != expected
    if len(places) != rows * classes or differs.any():
        at = int(np.argmax(differs)) if differs.any() else len(expected)
        is_twice = at > 0 and at < len(places) and places[at] == places[at - 1]
        row, column = divmod(int(places[at]) if is_twice else at, classes)
        called = f"{column:,} ({brief(sorted(class_names)[column], 60)})" if class_names else f"{column:,}"
        what = "twice" if is_twice else "nowhere"
        raise StablemaxError(
            f"{name}: is a table of row, class and value, but has row {row:,}, class {called} {what}",
            "give each row each class once (nan for an unknown one); --header reads the three columns as classes",
        )
    return order, rows, classes
