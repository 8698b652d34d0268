"""How a table is laid out: delimiter, header and index column, found out from its first lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.foreign_text import brief, listed
from stablemax.inputs.formats.long_table import is_long, with_numbers
from stablemax.inputs.formats.table_cells import MISSING_WORDS, is_number, split
from stablemax.text.errors import StablemaxError
from stablemax.text.suggest import nearest
from stablemax.text.words import counted

# As --delimiter has them.
_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"} | dict.fromkeys(
    ("space", "whitespace", "blank"), " "
)
_CALLED = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes", " ": "blanks"}
# A comma comes last: where another one stands in every line, the commas are decimal commas or
# parts of names.
_CANDIDATES = ("\t", ";", "|", ",")
INDEX_NAMES = frozenset({"", "unnamed: 0", "index", "id"})
_LABEL_NAMES = frozenset({"label", "labels", "target", "targets", "y", "class"})


@dataclass(frozen=True)
class TableLayout:
    """The layout of a text table."""

    #: One character; a space stands for any run of blanks.
    delimiter: str
    #: Columns of the file.
    width: int
    #: Names of all the columns; empty without a header.
    header: tuple[str, ...] = ()
    #: Whether the first column is an index by its name; the values 0 to N - 1 have to confirm it.
    index_guessed: bool = False
    #: Whether the user calls the first column an index: it may hold text, and is never parsed.
    skips_first: bool = False
    #: Where the labels are, counted from 0.
    label_column: int | None = None
    #: Names of the classes, which may stand for their numbers in a column of labels.
    class_names: tuple[str, ...] = ()
    #: Whether the whole table holds labels.
    is_of_labels: bool = False
    #: Whether each line is a row, a class and a value.
    is_long: bool = False

    @property
    def dropped(self) -> list[int]:
        """The parsed columns that are no logits."""
        label = [] if self.label_column is None else [self.label_column - self.skips_first]
        return [*([0] if self.index_guessed else []), *label]

    def class_number(self, cell: str, column: int) -> float | None:
        """Return the number of a class whose name stands in a column of labels; None for anything else."""
        is_class = self.holds_labels(column) and self.class_names.count(cell) == 1
        return float(self.class_names.index(cell)) if is_class else None

    def holds_labels(self, column: int) -> bool:
        """Whether a column holds one label a row; a table of labels with more columns holds soft targets."""
        is_only_column = self.width - self.skips_first - len(self.dropped) == 1
        return column == self.label_column or (self.is_of_labels and is_only_column)


def delimiter_named(word: str) -> str:
    r"""Turn what a user typed into one character.

    >>> delimiter_named("tab")
    '\t'
    >>> delimiter_named("ab")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: --delimiter: 'ab' is not one character
    """
    character = _WORDS.get(word.lower(), word)
    if len(character) != 1:
        raise StablemaxError(
            f"--delimiter: '{brief(word)}' is not one character",
            "type one character, or comma, semicolon, tab, pipe or space",
        )
    if character.isalnum() or character in "+-.\"'_" or (not character.isprintable() and character != "\t"):
        raise StablemaxError(f"--delimiter: '{brief(word)}' cannot separate numbers", "for instance: --delimiter ';'")
    return character


def find_layout(
    lines: Sequence[str], numbers: Sequence[int], options: TableOptions, *, plain: str, name: str, notes: list[str]
) -> TableLayout:
    """Find out how a table is laid out.

    >>> from stablemax.inputs.file_format import TableOptions
    >>> notes = []
    >>> layout = find_layout(["a;b", "1;2"], [1, 2], TableOptions(), plain=",", name="x.csv", notes=notes)
    >>> layout.delimiter, layout.header
    (';', ('a', 'b'))
    >>> notes
    ['x.csv: cells are separated by semicolons', 'x.csv: line 1 taken as a header (a, b)']
    """
    if options.delimiter is None:
        delimiter = find_delimiter(lines, plain)
        if delimiter != plain:
            notes.append(f"{name}: cells are separated by {_CALLED[delimiter]}")
    else:
        delimiter = delimiter_named(options.delimiter)
    first = split(lines[0], delimiter, f"{name}: line {numbers[0]:,}")
    is_a_class = len(first) == 1 and first[0] in (options.class_names or ())
    header = _is_header(first) and not is_a_class if options.header is None else options.header
    if options.header is None:
        if header:
            notes.append(f"{name}: line {numbers[0]:,} taken as a header ({listed(first, 200)})")
        elif len(first) > 1 and len(lines) > 1 and first == [str(n) for n in range(len(first))]:
            notes.append(
                f"{name}: line {numbers[0]:,} reads {first[0]} to {first[-1]} and is taken as data; "
                "--header takes it as names"
            )
    names, width = tuple(first) if header else (), len(first)
    long = options.header is None and options.class_names is None and is_long(names) and not _names_columns(options)
    if long:
        return TableLayout(delimiter, width, names, is_long=True)
    likely_index = 0 if width > 1 and names and names[0].lower() in INDEX_NAMES else None
    index, label = other_columns(options, names, width, likely_index, name)
    if label is None and width - (index is not None) > 1:
        notes.extend(label_notes(names, name, "read as logits"))
    is_guessed = index is not None and not options.index_column
    classes = options.class_names
    if classes is None:
        classes = tuple(title for place, title in enumerate(names) if place not in (index, label))
    layout = TableLayout(
        *(delimiter, width, names, is_guessed, bool(options.index_column), label, classes),
        is_of_labels=options.class_names is not None,
    )
    notes.extend(_name_notes(lines[1 if header else 0 :], layout, name))
    return layout


def _names_columns(options: TableOptions) -> bool:
    """Whether the user says what a column is."""
    return options.label_column is not None or options.index_column is not None


def _name_notes(lines: Sequence[str], layout: TableLayout, name: str) -> Iterator[str]:
    """Say that labels are names of classes, where one of some lines has one."""
    if not layout.class_names or (layout.label_column is None and not layout.is_of_labels):
        return
    rows = (split(line, layout.delimiter, name) for line in lines)
    cells = (pair for row in rows for pair in enumerate(row))
    if any(layout.class_number(cell, column) is not None and not is_number(cell) for column, cell in cells):
        yield class_names_note(layout.class_names, name)


def class_names_note(class_names: Sequence[str], name: str) -> str:
    """Say which class number a label that is a name stands for.

    >>> class_names_note(("cat", "dog"), "y.csv")
    'y.csv: labels are names of classes, numbered as in the header of the logits (cat = 0, dog = 1)'
    """
    return f"{name}: labels are names of classes, numbered as in the header of the logits ({with_numbers(class_names)})"


def other_columns(
    options: TableOptions, names: Sequence[str], width: int, likely_index: int | None, name: str
) -> tuple[int | None, int | None]:
    """Find the columns of the index and of the labels; `likely_index` looks like an index where the user is silent.

    >>> from stablemax.inputs.file_format import TableOptions
    >>> other_columns(TableOptions(label_column="y"), ("", "a", "y"), 3, 0, "x.csv")
    (0, 2)
    """
    label = None if options.label_column is None else _label_place(options.label_column, names, width, name)
    index = likely_index if likely_index != label else None
    if options.index_column is not None:
        index = 0 if options.index_column else None
    if index is not None and index == label:
        raise StablemaxError(
            f"{name}: column 1 cannot be both the index and the labels",
            "leave out --index-column, or name another --label-column",
        )
    if width <= (index is not None) + (label is not None):
        raise StablemaxError(f"{name}: no column is left for the logits", "leave out --index-column or --label-column")
    return index, label


def label_notes(
    names: Sequence[str], name: str, what: str, logits: int | None = None, *, in_columns: bool = True
) -> Iterator[str]:
    """Say of columns that are named like labels how they are taken as such; `logits` is no such column."""
    for place, title in enumerate(names):
        if title.lower() in _LABEL_NAMES and place != logits:
            called_so = f"column {place + 1} ({title})" if in_columns else title
            yield f"{name}: {called_so} is {what}; --label-column {title} takes it as labels"


def called(column: int, names: Sequence[str], *, short: bool = False) -> str:
    """Name a column by its number and its title, or by the title alone.

    >>> called(1, ("id", "logit")), called(1, ("id", "logit"), short=True), called(1, ())
    ('2 (logit)', 'logit', '2')
    """
    title = brief(names[column], 120) if column < len(names) else ""
    if short and title:
        return title
    return f"{column + 1}{f' ({title})' if title else ''}"


def find_delimiter(lines: Sequence[str], plain: str) -> str:
    """Find what separates the cells of some lines; what needs no announcement where nothing else does."""
    sample = [_without_quoted(line) for line in lines]
    counts = {sign: (sum(sign in line for line in sample), sign in sample[0]) for sign in _CANDIDATES}
    best = max(_CANDIDATES, key=lambda sign: counts[sign])
    if counts[best][0]:
        return best
    if any(len(line.split()) > 1 for line in sample[1:] or sample):
        return " "
    return plain


def _without_quoted(line: str) -> str:
    return "x".join(line[:65536].split('"')[::2]) if '"' in line else line[:65536]


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a line names columns; a data line with a mistake in it must not pass for one."""
    numeric = [cell for cell in cells if is_number(cell)]
    words = [cell for cell in cells if cell[:1].isalpha() or cell[:1] == "_"]
    named = any(not is_number(cell) and cell.lower() not in MISSING_WORDS for cell in words)
    counted = numeric in ([str(n) for n in range(len(numeric))], [str(n) for n in range(1, len(numeric) + 1)])
    # pandas names columns by their numbers where they have no names, and its index not at all.
    unnamed_index = not cells[0] and len(numeric) == len(cells) - 1 > 0
    return (named or unnamed_index) and counted


def _label_place(asked: str, names: Sequence[str], width: int, name: str) -> int:
    """Find the column that --label-column means: by its name, else by its number."""
    if names.count(asked) > 1:
        raise StablemaxError(
            f"{name}: {names.count(asked)} columns are named {brief(asked, 120)}",
            "say which by its number, counted from 0: --label-column 0",
        )
    if asked in names:
        return names.index(asked)
    if asked.isascii() and asked.isdigit() and len(asked) < 10:
        if int(asked) < width:
            return int(asked)
        raise StablemaxError(
            f"{name}: --label-column {int(asked):,}: the table has {counted(width, 'column')}",
            f"columns are 0 to {width - 1:,}",
        )
    if asked.isascii() and asked.startswith("-") and asked[1:].isdigit():
        raise StablemaxError(
            f"{name}: --label-column {brief(asked, 60)}: columns are counted from 0", f"the last one is {width - 1:,}"
        )
    hint = f"columns are named: {listed(names)}" if names else "there is no header; use its number, counted from 0"
    # A column of labels is among the first or the last; a hundred thousand names would take seconds.
    near = nearest(asked[:60], [n[:60] for n in (*names[:100], *names[-100:])])
    if near:
        hint = f"did you mean {brief(near, 120)}? {hint}"
    raise StablemaxError(f"{name}: no column is named {brief(asked, 120)}", hint)
