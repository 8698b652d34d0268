"""The page of a report: all of it is there, it is well-formed, needs nothing else, and obeys nobody's names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import numpy as np
import pytest

from stablemax.check import CheckOptions, check_function
from stablemax.check.target.local import load_local
from stablemax.check.target.messages import Call, Target, TraceOptions
from stablemax.comparing.comparison import CompareOptions, compare_problem
from stablemax.hazards.generated import generate
from stablemax.numerics.formats import FLOAT16, FLOAT32
from stablemax.render import document as doc
from stablemax.render.html_blocks import written
from stablemax.render.reports import page
from stablemax.reporting.report_parts import report_of
from stablemax.results import Report
from stablemax.sweeping.sweep_options import SweepOptions
from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome

VOID = {"meta"}
HOSTILE = '<script>alert("&")</script>\'.py:f'
PATTERNS = ("softmax/naive", "softmax/shifted", "cross_entropy/clipped", "log_softmax/lse-minus")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    parents: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Elements with all of their text; an element that is not closed in order fails."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[Element] = []
        self.elements: list[Element] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {k: v or "" for k, v in attrs}, parents=[e.tag for e in self.open])
        assert len(element.attributes) == len(attrs), f"an attribute is there twice: {attrs}"
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        wanted = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
        return [e for e in self.elements if e.tag == tag and wanted.items() <= e.attributes.items()]


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def result() -> Report:
    problem = generate(seed=0, scale=200.0, rows=4, classes=8)
    options = CompareOptions(formats=(FLOAT16, FLOAT32), patterns=PATTERNS)
    checked = CheckOptions((FLOAT32,), only=("gentle", "large-logits"), search=False)
    traced = load_local(Target("softmax/naive")).trace(
        Call(np.array([[100.0, 0.0]], np.float32)), TraceOptions("two logits", command=("stablemax", "trace"))
    )
    return report_of(
        compare_problem(problem, options, command=("stablemax", "compare", "--all")),
        SweepOptions(steps=3, formats=(FLOAT32,), patterns=PATTERNS[:2]),
        check=check_function(None, Target("softmax/naive"), checked),
        trace=traced,
        command=("stablemax", "report", "-o", "report.html", "a b.npy"),
        sweep_command=("stablemax", "sweep", "--steps", "3"),
    )


@pytest.fixture(scope="module")
def html(result: Report) -> str:
    return page(result)


@pytest.fixture(scope="module")
def reader(html: str) -> Reader:
    return Reader(html)


def test_every_finding_stands_in_the_page_and_leads_to_its_part(result: Report, reader: Reader) -> None:
    findings = reader.all("li", class_="finding")
    assert [words(f) for f in result.findings] == [words(e.text.partition(": ")[2]) for e in findings]
    ids = {e.attributes["id"] for e in reader.elements if "id" in e.attributes}
    links = [link for e in reader.all("a") if (link := e.attributes["href"]).startswith("#")]
    assert len(links) > 10
    assert {link.removeprefix("#") for link in links} <= ids


def cells_of(reader: Reader) -> dict[tuple[str, str], Element]:
    """Cells of tables by what heads their row and their column."""
    cells: dict[tuple[str, str], Element] = {}
    name = ""
    for element in reader.elements:
        if element.tag == "th" and element.attributes.get("scope") == "row":
            name = element.text
        if element.tag == "td" and "data-column" in element.attributes:
            cells[name, element.attributes["data-column"]] = element
    return cells


def test_every_verdict_stands_in_a_cell_with_its_sign_and_its_word(result: Report, reader: Reader) -> None:
    cells = cells_of(reader)
    verdicts = result.comparison.verdicts
    assert {v.worst for v in verdicts} >= {Outcome.NAN, Outcome.INACCURATE, Outcome.OK}
    assert {v.grade for v in verdicts} == {Grade.UNSTABLE, Grade.STABLE, Grade.ACCURATE}
    for verdict in verdicts:
        cell = cells[verdict.variant, verdict.format]
        assert verdict.worst is not None
        sign, word, glyph = verdict.worst.value, OUTCOMES[verdict.worst].short, OUTCOMES[verdict.worst].glyph
        if verdict.grade is Grade.STABLE:
            sign, word, glyph = Grade.STABLE.value, Grade.STABLE.value, GRADES[Grade.STABLE].glyph
        assert cell.attributes["data-outcome"] == sign
        assert cell.text.startswith(f"{glyph} {word}")
        assert f"is-{sign}" in cell.attributes["class"]


def test_ranks_go_from_good_to_bad_and_of_two_errors_the_larger_is_worse(result: Report, reader: Reader) -> None:
    cells = cells_of(reader)
    backwards = reversed(result.comparison.verdicts)
    ranked = sorted(backwards, key=lambda v: int(cells[v.variant, v.format].attributes["data-rank"]))
    grades = [v.grade.severity for v in ranked if v.grade is not None]
    errors = [v.error_ulp for v in ranked if v.worst is Outcome.OK and v.error_ulp is not None]
    assert grades == sorted(grades)
    assert errors == sorted(errors)
    assert len(set(errors)) > 1
    assert ranked[-1].worst is Outcome.NAN


def test_ids_are_unique_and_every_control_has_a_label(reader: Reader) -> None:
    ids = [e.attributes["id"] for e in reader.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    labelled = {e.attributes["for"] for e in reader.all("label")}
    assert {e.attributes["id"] for e in reader.all("select")} == labelled
    assert all(e.text.strip() for e in [*reader.all("button"), *reader.all("label"), *reader.all("summary")])
    assert all(e.attributes["aria-label"] for e in reader.elements if e.attributes.get("role") == "region")
    options = [e.attributes["value"] for e in reader.all("option")]
    outcomes = {e.attributes["data-outcome"] for e in reader.all("td") if "data-outcome" in e.attributes}
    assert {"float16", "float32", *outcomes} <= set(options)


def test_the_page_needs_nothing_else_and_is_whole_without_its_script(result: Report, html: str, reader: Reader) -> None:
    assert not [e for e in reader.elements if e.attributes.keys() & {"src", "srcset", "data", "action"}]
    assert not reader.all("link")
    assert "url(" not in html
    assert "@import" not in html
    sources = " ".join(source for e in result.explanations for source in e.sources)
    elsewhere = {link for e in reader.all("a") if not (link := e.attributes["href"]).startswith("#")}
    assert elsewhere
    assert all(address in sources for address in elsewhere | set(re.findall(r"https?://[^\s<\"]+", html)))
    # Nothing is hidden but the controls, which do nothing without the script.
    assert [e.tag for e in reader.elements if "hidden" in e.attributes] == ["form"]


def test_a_chart_has_a_title_a_description_and_its_figures(result: Report, reader: Reader) -> None:
    charts = reader.all("figure", class_="chart")
    assert [c.attributes["data-column"] for c in charts] == ["float32"]
    (chart,) = charts
    assert "softmax in float32" in chart.text
    assert "error in u against scale: naive, naive: bound, shifted, shifted: bound" in chart.text
    for line in result.sweep.lines:
        for point in line.points:
            assert point.error_u is None or f"{point.error_u:.4g}" in chart.text


def test_a_run_of_a_heatmap_is_as_wide_as_the_range_it_stands_for() -> None:
    marks = [
        doc.Mark(0.0, Outcome.OK),
        doc.Mark(0.2, Outcome.OK),
        doc.Mark(0.3, Outcome.NAN),
        doc.Mark(1.0, Outcome.NAN),
    ]
    heatmap = doc.Heatmap("float32", ["softmax/naive"], [marks], "scale", [(0.0, "1"), (1.0, "10")])
    runs = Reader(written([[heatmap]])).all("li")
    assert [(r.text, r.attributes["style"]) for r in runs] == [
        ("✓ ok", "flex-grow:25.00"),
        ("✗ NaN", "flex-grow:75.00"),
    ]


def test_versions_and_the_command_say_how_the_page_was_made(result: Report, html: str) -> None:
    assert "stablemax report -o report.html &#x27;a b.npy&#x27;" in html
    assert {"Python", "stablemax", "numpy", "ml_dtypes", "python-flint"} <= result.versions.keys()
    assert all(f"{name} {version}" in html for name, version in result.versions.items())


def test_each_formula_is_explained(result: Report, reader: Reader) -> None:
    by_id = {e.attributes["id"]: e.text for e in reader.all("details") if "id" in e.attributes}
    assert len(by_id) == len(result.explanations) == len(PATTERNS)
    for explanation in result.explanations:
        text = by_id[f"formula-{explanation.variant.replace('/', '-')}"]
        for part in (explanation.formula, explanation.why_it_holds, explanation.bound, *explanation.sources):
            assert part in text


def test_a_page_is_the_same_bytes_each_time(result: Report, html: str) -> None:
    assert page(result) == html


def test_names_are_shown_and_never_obeyed(result: Report) -> None:
    assert result.check is not None
    assert result.trace is not None
    summary = replace(result.comparison.input, source=HOSTILE)
    hostile = replace(
        result,
        check=replace(result.check, target=HOSTILE, finding=HOSTILE, printed=HOSTILE, instead=HOSTILE),
        trace=replace(
            result.trace,
            target=HOSTILE,
            source=HOSTILE,
            lines=tuple(replace(line, file=HOSTILE, text=HOSTILE) for line in result.trace.lines),
        ),
        comparison=replace(result.comparison, input=summary, command=(HOSTILE,)),
        notes=(HOSTILE,),
        command=(HOSTILE,),
    )
    reader = Reader(page(hostile))
    assert len(reader.all("script")) == 1
    assert reader.all("section", id="check")[0].attributes["aria-label"] == f"Check of {HOSTILE}"
    title = reader.all("title")[0]
    assert title.text == f"stablemax report: {HOSTILE}"
    assert any(e.text == HOSTILE for e in reader.all("caption"))


def test_parts_without_a_result_are_left_out(result: Report, html: str) -> None:
    ids = re.findall(r'<section id="(\w+)"', page(replace(result, check=None, trace=None)))
    assert ids == ["formulas", "sweep", "explanations", "made"]
    assert re.findall(r'<section id="(\w+)"', html) == ["check", "trace", *ids]


def test_other_blocks_are_well_formed() -> None:
    bars = doc.Bars("times", "sizes", [[doc.Bar("4 x 4", "ours <b>", 1.0, "1 s", is_ours=True)]])
    curve = doc.Curve("loss <x>", "gap", [(0.0, 1.0), (1.0, 3.0)], [(0.0, "0"), (1.0, "2")])
    cell = doc.Cell(doc.Span(" ok", sign=Outcome.OK))
    formula = doc.Formula("naive", "e / s", "exp(x) / sum(exp(x)) < 1", [cell])
    formulas = doc.Formulas(["float32"], "overflows above", ["88.7"], [("softmax", [formula])])
    excerpt = doc.Excerpt("it printed:", ["<p>", "</div>"], "and 3 more lines")
    values = doc.Values(["row", "loss"], [["0", "1.5"]])
    text = written([[bars, curve, formulas], [excerpt, values, doc.Table(["a"], [["<td>1"]])]])
    reader = Reader(text)
    assert [e.text for e in reader.all("code")] == ["exp(x) / sum(exp(x)) < 1"]
    assert not reader.all("b")
    assert any(e.text == "<td>1" for e in reader.all("th"))
