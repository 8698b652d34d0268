"""The figures of the glossary are facts, whatever computed them."""

from __future__ import annotations

import decimal
import functools
from typing import TYPE_CHECKING

import pytest

from stablemax.explaining.term_pages import term_page
from stablemax.explaining.word_kind import spelled
from stablemax.glossary.live_figures import FORMATS_SHOWN
from stablemax.glossary.terms import TERMS
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32
from stablemax.render.word_pages import computed
from stablemax.results import Outcome

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format
    from stablemax.results.explained import Computed, ExplainedTerm

page_of = functools.cache(term_page)


def cells(page: ExplainedTerm) -> dict[tuple[str, str, str], Computed]:
    """The numbers of a page by title, row and column."""
    return {
        (figure.title, row.label, column): cell
        for figure in page.figures
        for row in figure.rows
        for column, cell in zip(figure.columns, row.cells, strict=True)
    }


def cell(term: str, label: str, column: str) -> Computed:
    """The number of a page in a row and a column, whatever the figure."""
    (found,) = (c for (_, row, name), c in cells(page_of(term)).items() if (row, name) == (label, column))
    return found


def test_the_gaps_of_float32_are_powers_of_two() -> None:
    assert cell("ulp", "from 1", "float32").value == 2.0**-23
    assert cell("ulp", "from 1000", "float32").value == 2.0**-14
    assert cell("ulp", "from 1e8", "float32").value == 8.0
    assert cell("ulp", "1e8 + 1", "float32").value == 1e8
    assert cell("ulp", "1e8 + 8", "float32").value == 1e8 + 8


@pytest.mark.parametrize("fmt", FORMATS_SHOWN, ids=lambda f: f.name)
def test_thresholds_are_neighbours_on_both_sides_of_the_exact_ones(fmt: Format) -> None:
    names = ("finite at", "infinite at", "not 0 at", "0 at")
    finite, infinite, nonzero, zero = (cell("overflow-threshold", fmt.name, n).value for n in names)
    assert infinite - finite == fmt.ulp(finite)
    assert nonzero - zero == fmt.ulp(zero)
    with decimal.localcontext(prec=60, Emin=-9999, Emax=9999):
        exp = {x: decimal.Decimal(x).exp() for x in (finite, infinite, nonzero, zero)}
        half_ulp = decimal.Decimal(2) ** (fmt.emax - fmt.precision)
        assert exp[finite] < decimal.Decimal(fmt.max) + half_ulp <= exp[infinite]
        half_of_smallest = decimal.Decimal(fmt.smallest_subnormal) / 2
        assert exp[zero] <= half_of_smallest < exp[nonzero]


def test_thresholds_are_those_that_the_field_knows() -> None:
    first = {f.name: computed(cell("overflow-threshold", f.name, "infinite at")) for f in FORMATS_SHOWN}
    assert (first["float32"], first["float16"], first["bfloat16"]) == ("88.72284", "11.09", "89")
    # Neighbours of float64 differ in the last of 17 digits: they are shown whole.
    assert first["float64"].startswith("709.7827128933")
    assert computed(cell("overflow-threshold", "float64", "finite at")) != first["float64"]


@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32], ids=lambda f: f.name)
def test_the_first_number_that_absorbs_a_1_is_2_to_the_p(fmt: Format) -> None:
    top = 2**fmt.precision
    assert cell("absorption", f"{top} + 1 in {fmt.name}", "gives").value == top
    assert cell("absorption", f"{top} + 1 in {fmt.name}", "exact").value == top + 1
    assert fmt.cast(top - 1) + fmt.cast(1) == top, "the one before it feels the 1"


def test_a_sequential_sum_of_ones_stops_where_a_1_is_absorbed() -> None:
    assert cell("accumulation", "sequential", "bfloat16").value == 256
    assert cell("accumulation", "sequential", "float16").value == 2048
    assert cell("accumulation", "sequential", "float16").outcome is Outcome.INACCURATE
    assert cell("accumulation", "pairwise", "bfloat16").value == 4096


def test_cancellation_leaves_fewer_digits_the_larger_the_offset() -> None:
    errors = [abs(cell("cancellation", f"({a} + log 3) - {a}", "float32").value - 1.0986122886681098) for a in
              ("100", "10000", "1e6", "1e8")]  # fmt: skip
    assert errors == sorted(errors)
    assert cell("cancellation", "(1e8 + log 3) - 1e8", "float32").outcome is Outcome.LOST
    assert computed(cell("cancellation", "(1e8 + log 3) - 1e8", "exact")) == "1.09861228867"


def test_u_is_half_of_eps_and_1_does_not_feel_it() -> None:
    for fmt in FORMATS_SHOWN:
        assert cell("unit-roundoff", fmt.name, "u").value == 2.0**-fmt.precision
        assert cell("unit-roundoff", fmt.name, "(1 + u) - 1").value == 0
        assert cell("unit-roundoff", fmt.name, "(1 + 2 u) - 1").value == 2 * fmt.u


def test_rounding_twice_ends_at_the_wrong_neighbour() -> None:
    once, twice = (
        cell("double-rounding", label, "in bfloat16").value for label in ("rounded once", "to float32 first")
    )
    assert (once, twice) == (1 + 2.0**-7, 1.0)


def test_four_ways_lead_to_nan_in_float32_and_none_does_in_float64() -> None:
    table = cells(page_of("nan"))
    assert {c.outcome for (_, _, column), c in table.items() if column == "float32"} == {Outcome.NAN}
    assert {c.outcome for (_, _, column), c in table.items() if column == "float64"} == {Outcome.OK}


def test_the_label_absorbs_the_sum_and_the_loss_is_0() -> None:
    assert cell("softmax-collapse", "cross_entropy/shifted", "loss").outcome is Outcome.LOST
    assert cell("softmax-collapse", "cross_entropy/compensated", "loss").outcome is Outcome.OK
    assert computed(cell("softmax-collapse", "exact", "loss")) == "4.1399375e-08"


def test_a_row_with_everything_masked_is_shown_as_having_no_value() -> None:
    title = "Every class masked, logits -inf, -inf in float32"
    assert cells(page_of("masking"))[title, "softmax/shifted", "class 0"].outcome is Outcome.UNDEFINED


def test_a_shift_of_all_logits_changes_no_probability() -> None:
    table = cells(page_of("logit"))
    for column in ("class 0", "class 1", "class 2"):
        same = {c.value for (_, row, name), c in table.items() if name == column and row in ("2, 1, 0", "7, 6, 5")}
        assert len(same) == 1


def test_no_two_terms_have_a_name_or_an_alias_in_common() -> None:
    words = [spelled(word) for term in TERMS.values() for word in (term.name, *term.aliases)]
    assert len(words) == len(set(words))
