"""Results as data: JSON, NDJSON, CSV and tab-separated lines."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stablemax.render.forms import Rows
from stablemax.results import SCHEMA


def jsonable(value: Any) -> Any:
    """Turn results into what JSON can hold: NaN and infinities become strings, for JSON has none.

    >>> jsonable({"error": float("inf"), "rows": (1, 2)})
    {'error': 'Infinity', 'rows': [1, 2]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    return value


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    import platform
    from importlib.metadata import version

    names = ("stablemax", "numpy", "ml-dtypes", "python-flint")
    return {"python": platform.python_version(), **{n: version(n) for n in names}}


def document(kind: str, content: Any) -> str:
    """Write one JSON document with the schema's id and the versions in front."""
    body = {"schema": SCHEMA, "kind": kind, "versions": versions(), **jsonable(content)}
    return json.dumps(body, indent=2, allow_nan=False) + "\n"


def json_line(record: Any) -> str:
    """Write a record as a line of NDJSON, with the schema's id; bare numbers stand alone."""
    value = {"schema": SCHEMA, **jsonable(record)} if isinstance(record, Mapping) else jsonable(record)
    return json.dumps(value, allow_nan=False) + "\n"


def cell(value: Any) -> str:
    """Write one CSV cell: numbers so that they read back the same, yes and no as in JSON, names with spaces between.

    >>> cell(0.1), cell(True), cell(False), cell(None)
    ('0.1', 'true', 'false', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _lines(table: Rows) -> Iterator[Sequence[str]]:
    if table.headers:
        yield table.headers
    for row in table.rows:
        yield [cell(row.get(name)) for name in table.headers] if isinstance(row, Mapping) else row


def comma_separated(table: Rows) -> Iterator[str]:
    """Write CSV, line by line."""
    for row in _lines(table):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        yield line.getvalue()


def tab_separated(table: Rows) -> Iterator[str]:
    """Write tab-separated lines, for cut and awk."""
    for row in _lines(table):
        yield "\t".join(c.replace("\t", " ").replace("\n", " ") for c in row) + "\n"
