"""The results of several functions, one after the other, in each form that the result of one has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stablemax.render import document as doc
from stablemax.render.forms import Checks, Form, ResultKind, Rows, absent
from stablemax.text.outcomes import Grade, Outcome
from stablemax.text.words import counted


def in_turn(kind: ResultKind) -> ResultKind:
    """Return the kind of a sequence of results that are each of a kind, and each of a `target`."""

    def content(results: Sequence[Any]) -> dict[str, Any]:
        return {"results": [kind.content(result) for result in results]}

    def document(results: Sequence[Any], **options: Any) -> doc.Document:
        titled = ([[doc.Heading(result.target, 2)], *kind.document(result, **options)] for result in results)
        return [section for sections in titled for section in sections]

    def records(results: Sequence[Any]) -> Iterator[dict[str, Any]]:
        for result in results:
            for record in kind.records(result):
                yield {**record, "target": result.target}

    def rows(results: Sequence[Any]) -> Rows:
        return Rows(("target", *kind.rows(results[0]).headers), _rows(kind, results))

    def checks(results: Sequence[Any], failures: frozenset[Outcome | Grade]) -> Checks:
        every = [kind.checks(result, failures) for result in results]
        failing = sum(any(check.failure for check in of_one.checks) for of_one in every)
        title = f"{every[0].title}, {', '.join(result.target for result in results[1:])}"
        finding = f"{failing:,} of {counted(len(results), 'function')} fail. {' '.join(e.finding for e in every)}"
        return Checks(title, finding, tuple(check for of_one in every for check in of_one.checks))

    return ResultKind(
        f"{kind.name} of several functions",
        f"{kind.kind}s",
        content=content,
        document=document if kind.has(Form.DOCUMENT) else absent,
        records=records if kind.has(Form.RECORDS) else absent,
        rows=rows if kind.has(Form.ROWS) else absent,
        checks=checks if kind.has(Form.CHECKS) else absent,
    )


def _rows(kind: ResultKind, results: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    for result in results:
        for row in kind.rows(result).rows:
            assert isinstance(row, Mapping), "rows of what has a target have their headers"
            yield {**row, "target": result.target}
