"""What a result can be written from: its forms, declared once for each kind of result."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stablemax.render.document import Document
from stablemax.render.plots import Plot
from stablemax.text.outcomes import Grade, Outcome


class Form(enum.StrEnum):
    """What a writer asks a result for; each is a field of `ResultKind`."""

    DOCUMENT = "document"
    CONTENT = "content"
    RECORDS = "records"
    ROWS = "rows"
    LINES = "lines"
    CHECKS = "checks"
    PLOTS = "plots"
    PAGE = "page"
    CELLS = "cells"


@dataclass(frozen=True)
class Rows:
    """Cells of a table for a program, with their headers; no headers where there are only numbers."""

    headers: tuple[str, ...]
    #: Cells in words, or values by header
    rows: Iterable[Sequence[str] | Mapping[str, Any]]


def in_columns(headers: tuple[str, ...], records: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Rows]:
    """Return what gives the records of a result as rows under headers."""
    return lambda result: Rows(headers, records(result))


@dataclass(frozen=True)
class Check:
    """One thing that passed, failed or was not run, as a CI system counts it."""

    #: What it belongs to; with the name it is unique
    group: str
    #: What was checked
    subject: str
    #: The number format; empty for a check of all
    format: str = ""
    #: What came out, in a few words
    outcome: str = ""
    #: Why it failed, in a line; empty when it did not
    failure: str = ""
    #: The kind of failure, a word
    kind: str = ""
    #: Why it was not run; empty when it was
    skipped: str = ""
    #: More about a failure, in lines
    details: str = ""
    #: The file and the line to blame; empty and 0 where they are not known
    file: str = ""
    line: int = 0

    @property
    def name(self) -> str:
        """The subject, and the format where it has one."""
        return f"{self.subject} in {self.format}" if self.format else self.subject


@dataclass(frozen=True)
class Checks:
    """All checks of a result, its title, and its finding."""

    title: str
    finding: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class NotebookCell:
    """A cell of a notebook: a document, or a program where there is one."""

    document: Document = ()
    program: str = ""
    #: The document is folded behind this title; empty where it is open
    title: str = ""


def absent(*_: Any, **__: Any) -> Any:
    """Stand where a kind of result has no such form."""
    raise NotImplementedError


@dataclass(frozen=True)
class ResultKind:
    """A kind of result, and the forms it has."""

    #: With its article, as in "a comparison".
    name: str
    #: What its JSON says it is.
    kind: str
    #: From the result to what JSON holds; the result itself where its fields are that.
    content: Callable[[Any], Any] = lambda result: result
    #: From the result, and the options of its command that ask for more, to a `Document`.
    document: Callable[..., Document] = absent
    #: From the result to one JSON value for each line.
    records: Callable[[Any], Iterable[Any]] = absent
    #: From the result to `Rows`.
    rows: Callable[[Any], Rows] = absent
    #: From the result and the page to lines of plain text, where these are not its rows.
    lines: Callable[[Any, Page], Iterable[str]] = absent
    #: From the result and the outcomes that count as failures to `Checks`.
    checks: Callable[[Any, frozenset[Outcome | Grade]], Checks] = absent
    #: From the result to a whole HTML page, where it is more than what a terminal shows.
    page: Callable[[Any], str] = absent
    #: From the result to the cells of a notebook.
    cells: Callable[[Any], Iterable[NotebookCell]] = absent

    #: From the result, and the options of its command, to curves that pictures show beneath its document.
    plots: Callable[..., Sequence[Plot]] = absent

    def has(self, form: Form) -> bool:
        """Whether results of this kind have a form."""
        return getattr(self, form) is not absent


@dataclass(frozen=True)
class Page:
    """What the options say of how a result is written."""

    color: str = "never"
    #: It goes to a file of its own, in UTF-8, without colours and without a terminal's width
    to_file: bool = True
    #: What the document is asked for beside its result, such as `details`
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Outcomes that count as failures
    failures: frozenset[Outcome | Grade] = frozenset()
