"""Results as data: JSON, NDJSON, CSV, Markdown and plain lines, all from the same records."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stablemax.results import SCHEMA

if TYPE_CHECKING:
    from stablemax.results import Comparison, Verdict

VERDICT_COLUMNS = (
    "operation",
    "variant",
    "format",
    "accumulation",
    "worst",
    "ok",
    "undefined",
    "input-overflow",
    "inaccurate",
    "lost",
    "overflow",
    "nan",
    "error_ulp",
    "error_u",
    "error_over_bound",
    "sum_error",
    "mean",
    "mean_error_ulp",
    "first_bad_row",
    "first_bad_column",
    "first_bad_logit",
    "first_bad_output",
    "first_bad_truth",
    "cause",
    "skipped",
)


def jsonable(value: Any) -> Any:
    """Turn results into what JSON can hold: NaN and infinities become strings, for JSON has none.

    Examples
    --------
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
    if isinstance(value, str):
        return str(value)
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


def lines(records: list[dict[str, Any]]) -> str:
    """Write records as NDJSON, one a line, each with the schema's id."""
    return "".join(json.dumps({"schema": SCHEMA, **jsonable(r)}, allow_nan=False) + "\n" for r in records)


def comparison_records(result: Comparison) -> list[dict[str, Any]]:
    """Flatten a comparison to a record for each verdict."""
    return [
        {"kind": "verdict", "operation": report.operation, **dataclasses.asdict(v)}
        for report in result.reports
        for v in report.verdicts
    ]


def verdict_row(operation: str, verdict: Verdict) -> list[str]:
    """Flatten a verdict to the cells of `VERDICT_COLUMNS`."""
    bad = verdict.first_bad
    found = {
        "operation": operation,
        **{c: getattr(verdict, c) for c in ("variant", "format", "accumulation", "worst", "cause", "skipped")},
        **{c: getattr(verdict, c) for c in VERDICT_COLUMNS[12:18]},
        **{outcome.value: share for outcome, share in verdict.shares.items()},
    }
    if bad is not None:
        found |= {f"first_bad_{f.name}": getattr(bad, f.name) for f in dataclasses.fields(bad)}
    return [cell(found.get(c)) for c in VERDICT_COLUMNS]


def cell(value: Any) -> str:
    """Write one CSV cell: numbers so that they read back the same, yes and no as in JSON.

    Examples
    --------
    >>> cell(0.1), cell(True), cell(False), cell(None)
    ('0.1', 'true', 'false', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    return str(value)


def table_csv(headers: list[str], rows: list[list[str]]) -> str:
    """Write CSV with a header line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(rows)
    return out.getvalue()


def table_plain(headers: list[str], rows: list[list[str]]) -> str:
    """Write tab-separated lines with a header, for cut and awk."""
    return "".join("\t".join(c.replace("\t", " ").replace("\n", " ") for c in r) + "\n" for r in [headers, *rows])


def table_markdown(headers: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |\n"

    return line(headers) + line(["---"] * len(headers)) + "".join(line(r) for r in rows)
