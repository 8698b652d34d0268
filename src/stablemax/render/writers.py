"""The output formats: one record for each. What has no record here is not written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stablemax.render.forms import Form, Page, ResultKind
from stablemax.render.plots import Plot
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.log_commands import broken_in_json, broken_in_text, broken_in_xml
from stablemax.text.registry import Registry
from stablemax.text.suggest import suggest

# Importable without NumPy and Rich: the command line asks for the names. Each writer loads what it needs.


@dataclass(frozen=True)
class Writer:
    """An output format.

    Parameters
    ----------
    name : str
        What --output-format calls it.
    forms : tuple of Form
        The forms of a result that it can write from; a result that has none of them is refused.
    write : callable
        From a kind of result, a result of that kind and a page to pieces of text, or of bytes.
    endings : tuple of str
        Endings of files that are written in it unless another format is asked for.
    is_binary : bool
        True where the pieces are bytes, which no terminal shows: it goes to a file.
    broken : callable, optional
        Breaks what the runner of a CI job would obey in its log; none for what is made of such commands.
    """

    name: str
    forms: tuple[Form, ...]
    write: Callable[[ResultKind, Any, Page], Iterable[str | bytes]]
    endings: tuple[str, ...] = ()
    is_binary: bool = False
    broken: Callable[[str], str] | None = broken_in_text


def _table(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    from stablemax.render.console import surface
    from stablemax.render.terminal import written

    yield written(kind.document(result, **page.options), surface(page.color, to_file=page.to_file))


def _plain(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    from stablemax.render.data import tab_separated

    return iter(kind.lines(result, page)) if kind.has(Form.LINES) else tab_separated(kind.rows(result))


def _json(kind: ResultKind, result: Any, _: Page) -> Iterator[str]:
    from stablemax.render.data import document

    yield document(kind.kind, kind.content(result))


def _ndjson(kind: ResultKind, result: Any, _: Page) -> Iterator[str]:
    from stablemax.render.data import json_line

    return map(json_line, kind.records(result))


def _csv(kind: ResultKind, result: Any, _: Page) -> Iterator[str]:
    from stablemax.render.data import comma_separated

    return comma_separated(kind.rows(result))


def _markdown(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    from stablemax.render.console import surface
    from stablemax.render.markdown import written

    yield written(kind.document(result, **page.options), surface("never", to_file=page.to_file))


def _junit(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    from stablemax.render.ci import junit

    checks = kind.checks(result, page.failures)
    yield junit(checks.checks, checks.title)


def _github(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    from stablemax.render.ci import for_github

    yield for_github(kind.checks(result, page.failures), kind.document(result))


def _notebook(kind: ResultKind, result: Any, _: Page) -> Iterator[str]:
    from stablemax.render.jupyter import written

    yield written(kind.cells(result))


def _svg(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    from stablemax.render.screen_pictures import as_svg

    yield as_svg(kind.document(result, **page.options), _width(page), _plots(kind, result, page))


def _html(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    if kind.has(Form.PAGE):
        yield kind.page(result)
        return
    from stablemax.render.screen_pictures import as_html

    yield as_html(kind.document(result, **page.options), _width(page), _plots(kind, result, page))


def _png(kind: ResultKind, result: Any, page: Page) -> Iterator[bytes]:
    from stablemax.render.drawn_screens import drawn

    yield drawn(kind.document(result, **page.options), _width(page), "png", _plots(kind, result, page))


def _pdf(kind: ResultKind, result: Any, page: Page) -> Iterator[bytes]:
    from stablemax.render.drawn_screens import drawn

    yield drawn(kind.document(result, **page.options), _width(page), "pdf", _plots(kind, result, page))


def _plots(kind: ResultKind, result: Any, page: Page) -> Sequence[Plot]:
    return kind.plots(result, **page.options) if kind.has(Form.PLOTS) else ()


def _width(page: Page) -> int:
    from stablemax.render.console import surface

    return surface("never", to_file=page.to_file).width


_ALL = (
    Writer("table", (Form.DOCUMENT,), _table, (".txt",)),
    Writer("plain", (Form.LINES, Form.ROWS), _plain, (".tsv",)),
    Writer("json", (Form.CONTENT,), _json, (".json",), broken=broken_in_json),
    Writer("ndjson", (Form.RECORDS,), _ndjson, (".ndjson", ".jsonl"), broken=broken_in_json),
    Writer("csv", (Form.ROWS,), _csv, (".csv",)),
    Writer("markdown", (Form.DOCUMENT,), _markdown, (".md",)),
    Writer("junit", (Form.CHECKS,), _junit, broken=broken_in_xml),
    Writer("github", (Form.CHECKS,), _github, broken=None),
    Writer("svg", (Form.DOCUMENT,), _svg, (".svg",)),
    Writer("html", (Form.PAGE, Form.DOCUMENT), _html, (".html", ".htm")),
    Writer("png", (Form.DOCUMENT,), _png, (".png",), is_binary=True),
    Writer("pdf", (Form.DOCUMENT,), _pdf, (".pdf",), is_binary=True),
    Writer("notebook", (Form.CELLS,), _notebook, (".ipynb",)),
)
WRITERS: Registry[Writer] = Registry(Writer, _ALL)
"""By name, in the order in which help and hints list them."""


def formats_of(kind: ResultKind, writers: Iterable[Writer] | None = None) -> list[str]:
    """Return the names of the formats that a kind of result is written in, by all writers or by some."""
    writers = WRITERS.values() if writers is None else writers
    return [writer.name for writer in writers if any(map(kind.has, writer.forms))]


def chosen(kind: ResultKind, requested: str | None, path: str | None, default: str) -> Writer:
    """Return the writer that was asked for by name, or by the ending of the file; refuse what nobody writes."""
    name = requested or _by_ending(kind, path) or default
    possible = formats_of(kind)
    if name not in WRITERS:
        hint = suggest(name, possible, f"one of: {', '.join(possible)}")
        raise StablemaxError(f"--output-format: there is no format {shown(name)!r}", hint)
    if name not in possible:
        raise StablemaxError(f"{kind.name} is not written as {name}", f"--output-format {', '.join(possible)}")
    writer = WRITERS[name]
    if writer.is_binary and path is None:
        raise StablemaxError(f"--output-format {name} is for files", f"-o FILE{writer.endings[0]}")
    return writer


def _by_ending(kind: ResultKind, path: str | None) -> str:
    ending = Path(path or "").suffix.lower()
    by_ending = {e: name for name, writer in WRITERS.items() for e in writer.endings}
    if ending and ending not in by_ending:
        taken = [e for e, name in by_ending.items() if name in formats_of(kind)]
        raise StablemaxError(
            f"{shown(path)}: nothing is written with the ending {shown(ending)}",
            f"give -o one of {', '.join(taken)}, or name the format: --output-format {', '.join(formats_of(kind))}",
        )
    return by_ending.get(ending, "")
