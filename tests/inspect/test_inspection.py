"""Inspection: what it predicts is what the formulas do, and what it counts is what there is."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax.compute import streaming
from stablemax.compute.streaming import Resources
from stablemax.hazards.catalogue import HAZARDS
from stablemax.inputs.blocks import Block
from stablemax.inputs.logits import as_stream
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.workspace import Workspace
from stablemax.inspect import inspection, prediction
from stablemax.inspect.inspection import Look, inspect_stream
from stablemax.inspect.inspection_report import inspection_of, percent_of
from stablemax.inspect.prediction import CODES, FORMULAS, OPERATIONS, Rounded, far_from_thresholds, outcomes
from stablemax.inspect.row_numbers import RowNumbers, row_numbers
from stablemax.inspect.tails import second_looks, tails_of
from stablemax.inspect.tally import Tally
from stablemax.numerics.formats import (
    BFLOAT16,
    FLOAT8_E3M4,
    FLOAT8_E4M3FN,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    FORMATS,
    get_format,
)
from stablemax.operations.variant import get
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import EngineName
from stablemax.truth.case import Case, Shared, setting_of
from stablemax.truth.measure import CODES as JUDGED_CODES
from stablemax.truth.measure import judge
from stablemax.truth.verdicts import computed

from ..records import CROSS_ENTROPY, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.results import Inspection

PREDICTED = [f for f in (*FORMATS.values(), get_format("e6m9fn"), get_format("e10m24")) if not f.saturates]
EVERY_FORMAT = pytest.mark.parametrize("fmt", PREDICTED, ids=lambda f: f.name)
INF = math.inf


def stream_of(*arrays: Array, labels: Array | None = None):  # type: ignore[no-untyped-def]
    stored = [StoredArray.of(x, f"part-{i}.npy") for i, x in enumerate(arrays)]
    return as_stream(stored, [] if labels is None else [StoredArray.of(labels, "labels.npy")])


def inspected(*arrays: Array, labels: Array | None = None, **options: object) -> Inspection:
    return inspect_stream(stream_of(*arrays, labels=labels), **options)  # type: ignore[arg-type]


# --- what is predicted is what happens -----------------------------------------------------------


def really(x: Array, labels: Array, fmt: Format) -> dict[tuple[Operation, str], Array]:
    """Run the variants on all cells, and judge each row by its worst cell."""
    shared, found = Shared(fmt), {}
    zeros: dict[str, Array] = {}
    for operation, formula in itertools.product(OPERATIONS, FORMULAS):
        case = Case(operation, np.arange(len(x)), x, None if operation is SOFTMAX else labels)
        setting = setting_of(case, shared)
        with np.errstate(all="ignore"):
            output, _ = computed(get(f"{operation}/{formula}"), setting)
        codes, strict = (
            judge(
                output, setting.exact, fmt, max_ulp=INF, input_overflow=setting.input_overflow, may_flush=flush
            ).codes.max(axis=1)
            for flush in (True, False)
        )
        if operation is SOFTMAX:
            zeros[formula] = (output.astype(np.float64) == 0).all(axis=1)
        if operation is not CROSS_ENTROPY:
            # A row of nothing but zeros is lost, however small its probabilities would be.
            codes = np.where(zeros[formula], np.maximum(codes, strict), codes)
        found[operation, formula] = codes
    return found


def predicted(
    x: Array, labels: Array, fmt: Format, odds: Array | float = 1.0, top: Array | float = 0.0
) -> dict[tuple[Operation, str], Array]:
    """Predict from the rows' few numbers, these moved by a factor of the odds and a shift of the maximum."""
    with np.errstate(all="ignore"), Workspace() as workspace:
        numbers = row_numbers(x, labels, workspace)
        e = workspace.take("exponentials", x.shape)
        moved = replace(numbers, odds=numbers.odds * odds)
        looks = second_looks(replace(moved, top=numbers.top + top), x.shape[1], [fmt.name])
        tails = tails_of(looks, numbers, 1, lambda: [(x, e)], workspace)
        return dict(outcomes(Rounded(moved, fmt, x.shape[1]), tails, 0))


def certain(x: Array, labels: Array, fmt: Format) -> dict[tuple[Operation, str], Array]:
    """Mark the rows that are not within rounding of a threshold.

    The rounding of logits moves differences of theirs by up to an ulp, and so the odds by e to that;
    the sums and exponentials of the format move the odds by less than 4 times more.
    """
    finite = np.where(np.isfinite(x), x, 0.0)
    ulp = np.minimum(fmt.ulp(np.abs(finite).max(axis=1)), 600.0)
    here = predicted(x, labels, fmt)
    found = {key: np.ones(len(x), dtype=bool) for key in here}
    for odds, top in itertools.product((0.25 * np.exp(-ulp), 4.0 * np.exp(ulp)), (-ulp, ulp)):
        for key, codes in predicted(x, labels, fmt, odds, top).items():
            found[key] &= codes == here[key]
    return found


DRAWN = list(itertools.product((1, 2, 7, 300), (0.1, 3, 10, 30, 1e4), (0, -20, -110, 300)))
"""Classes, scales and offsets."""


def drawn(seed: int, classes: int, scale: float, offset: float) -> tuple[Array, Array]:
    """Draw rows, a third of them with one class far ahead, two with a mask."""
    rng = np.random.default_rng(seed)
    rows = 9
    x = rng.standard_normal((rows, classes)) * scale + offset
    if classes > 1:
        x[:3, 0] = x[:3].max(axis=1) + rng.uniform(0, 40, 3)
    if classes > 2:
        x[-2:, 2] = -INF
    x = x.astype(np.float32).astype(np.float64)
    labels = x.argmax(axis=1)
    labels[::3] = rng.integers(0, classes, 3)
    return x, labels


def drawn_together() -> Iterator[tuple[Array, Array]]:
    """Yield what is drawn of each number of classes as one input, which takes a call where its parts take twenty."""
    parts: dict[int, list[tuple[Array, Array]]] = {}
    for seed, (classes, scale, offset) in enumerate(DRAWN):
        parts.setdefault(classes, []).append(drawn(seed, classes, scale, offset))
    for of_classes in parts.values():
        x, labels = zip(*of_classes, strict=True)
        yield np.concatenate(x), np.concatenate(labels)


def mismatches(x: Array, labels: Array, fmt: Format) -> tuple[list[str], int, int]:
    right, told, sure = really(x, labels, fmt), predicted(x, labels, fmt), certain(x, labels, fmt)
    wrong = [
        f"{operation}/{formula} row {row}: is {CODES[right[operation, formula][row]]}, "
        f"predicted {CODES[told[operation, formula][row]]}"
        for operation, formula in right
        for row in np.flatnonzero((right[operation, formula] != told[operation, formula]) & sure[operation, formula])
    ]
    return wrong, sum(int(s.sum()) for s in sure.values()), sum(len(s) for s in sure.values())


@pytest.mark.slow
@EVERY_FORMAT
def test_what_is_predicted_of_a_row_is_what_the_formulas_do_on_all_its_cells(fmt: Format) -> None:
    certain_rows = all_rows = 0
    for x, labels in drawn_together():
        wrong, sure, total = mismatches(x, labels, fmt)
        assert not wrong, f"{x.shape[1]} classes: {wrong}"
        certain_rows, all_rows = certain_rows + sure, all_rows + total
    # The margin must not excuse what it should not.
    assert certain_rows >= (0.97 if fmt.emax > 7 else 0.9) * all_rows


@pytest.mark.slow
@EVERY_FORMAT
def test_every_outcome_that_can_be_predicted_occurs_in_that_test(fmt: Format) -> None:
    seen: dict[tuple[str, str], set[Outcome]] = {}
    for x, labels in drawn_together():
        for (operation, formula), codes in predicted(x, labels, fmt).items():
            seen.setdefault((operation.name, formula), set()).update(CODES[c] for c in codes)
    assert Outcome.NAN in seen["softmax", "naive"]
    for loss in ("cross_entropy", "cross_entropy_grad"):
        # What is absorbed is less than u; where that is below the smallest normal number it may be flushed.
        assert (Outcome.LOST in seen[loss, "shifted"]) == (fmt.u > fmt.smallest_normal)
    assert (Outcome.OVERFLOW in seen["cross_entropy", "naive"]) == fmt.has_inf
    assert Outcome.OVERFLOW not in seen["softmax", "naive"] | seen["softmax", "shifted"]


def plain_rows(name: str, fmt: Format) -> tuple[Array, Array] | None:
    """Return the rows of a hazard that have a softmax and a label; None where it is about something else."""
    case = HAZARDS[name].case(fmt)
    if case.labels.ndim == 2 or case.logits.size > 50_000 or case.weight is not None or case.label_smoothing:
        return None
    x = np.asarray(case.logits, dtype=np.float64)
    defined = ~(np.isnan(x) | (x == INF)).any(axis=1) & (x > -INF).any(axis=1) & (case.labels >= 0)
    return (np.ascontiguousarray(x[defined]), case.labels[defined]) if defined.any() else None


PLAIN = [name for name in HAZARDS if plain_rows(name, FLOAT32) is not None]


@pytest.mark.slow
@EVERY_FORMAT
@pytest.mark.parametrize("name", PLAIN)
def test_what_is_predicted_on_a_hazard_is_what_happens(name: str, fmt: Format) -> None:
    rows = plain_rows(name, fmt)
    assert rows is not None
    if fmt is FLOAT8_E3M4 and name == "absorbed-tail":
        return  # 16.98 or 15.59 against 15.75: rounding the logits first decides
    wrong, _, _ = mismatches(*rows, fmt)
    assert not wrong, wrong


def test_a_format_that_saturates_is_not_inspected_and_the_error_says_why() -> None:
    with pytest.raises(StablemaxError, match="what is too large becomes 6 unseen"):
        inspected(np.zeros((2, 3)), formats=("float16", "float4_e2m1fn"))


def tail(fmt: Format) -> Array:
    """Make rows of classes that each underflow in a format, and together are most of the odds."""
    classes = 60_000 if fmt is FLOAT16 else 2_000
    x = np.full((5, classes), fmt.exp_underflow.real - 1.0)
    # The second largest underflows with them, is felt, or is absorbed; the last row is moved out of the underflow.
    x[:, :2] = [[0.0, x[0, 2]], [0.0, 0.0], [0.0, -1.0], [0.0, math.log(fmt.u) - 1.0], [0.0, math.log(fmt.u) - 1.0]]
    x[4] += 1.5
    return x


@pytest.mark.slow
@pytest.mark.parametrize("fmt", [FLOAT8_E4M3FN, FLOAT16], ids=lambda f: f.name)
def test_a_tail_of_thousands_of_exponentials_that_each_underflow_is_known_to_be_lost(fmt: Format) -> None:
    x, labels = tail(fmt), np.zeros(5, np.int64)
    right, told = really(x, labels, fmt), predicted(x, labels, fmt)
    lost = [CODES[c] is Outcome.LOST for c in told[CROSS_ENTROPY, "shifted"]]
    assert lost == [True, False, False, True, True]
    lost = [CODES[c] is Outcome.LOST for c in told[CROSS_ENTROPY, "naive"]]
    assert lost == [True, False, False, True, False]
    for key, codes in right.items():
        assert codes.tolist() == told[key].tolist(), key


def test_logits_that_round_to_where_their_exponentials_underflow_are_lost_with_all_below() -> None:
    # At -112 the numbers of float8_e4m3fn are 8 apart: what is 5 below the maximum becomes 8 below it.
    x = np.array([[-112.0, *[-117.0] * 300, *[-119.0] * 5]])
    right, told = (f(x, np.array([0]), FLOAT8_E4M3FN) for f in (really, predicted))
    assert CODES[told[CROSS_ENTROPY, "shifted"][0]] is Outcome.LOST
    assert {k: v.tolist() for k, v in right.items()} == {k: v.tolist() for k, v in told.items()}


@pytest.mark.slow
def test_a_sum_beyond_the_format_makes_every_probability_0_however_small_each_would_be() -> None:
    x = np.zeros((1, 70_000))
    right, told = (f(x, np.array([0]), FLOAT16) for f in (really, predicted))
    assert CODES[told[SOFTMAX, "shifted"][0]] is Outcome.LOST
    assert CODES[told[CROSS_ENTROPY, "shifted"][0]] is Outcome.OVERFLOW
    assert {k: v.tolist() for k, v in right.items()} == {k: v.tolist() for k, v in told.items()}


@pytest.mark.slow
@EVERY_FORMAT
def test_the_rows_that_are_not_looked_at_closely_would_come_out_the_same(
    fmt: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [drawn(seed, 50, 0.5, 0.0) for seed in range(100)]
    inputs = [*drawn_together(), (np.concatenate([x for x, _ in many]), np.concatenate([y for _, y in many]))]
    quick = [predicted(x, labels, fmt) for x, labels in inputs]
    far = []

    def near(rounded: Rounded, dropped: Array) -> Array:
        far.append(far_from_thresholds(rounded, dropped))
        return np.zeros(len(dropped), dtype=bool)

    monkeypatch.setattr(prediction, "far_from_thresholds", near)
    for (x, labels), told_quickly in zip(inputs, quick, strict=True):
        closely = predicted(x, labels, fmt)
        assert {k: v.tolist() for k, v in closely.items()} == {k: v.tolist() for k, v in told_quickly.items()}
    assert (np.concatenate(far).mean() > 0.25) == (fmt.bits > 8)


def test_the_outcomes_are_numbered_as_where_outputs_are_judged() -> None:
    assert CODES == JUDGED_CODES


@EVERY_FORMAT
def test_the_shares_are_those_of_the_rows_that_really_come_out_so(fmt: Format) -> None:
    parts = [drawn(seed, 20, 30, -40) for seed in range(6)]
    x, labels = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    sure = np.all(list(certain(x, labels, fmt).values()), axis=0)
    assert np.count_nonzero(sure) > len(x) / 2
    x, labels = x[sure], labels[sure]
    found = inspected(x.astype(np.float32), labels=labels, formats=(fmt.name,))
    for (operation, formula), codes in really(x, labels, fmt).items():
        told = next(f for f in found.forecasts if (f.operation, f.formula) == (operation.name, formula))
        outcome, count = np.unique(codes, return_counts=True)
        assert told.shares == {CODES[o]: int(n) / len(x) for o, n in zip(outcome, count, strict=True)}
        assert told.worst is CODES[outcome[-1]]


@EVERY_FORMAT
def test_the_wide_variants_are_right_on_every_row_that_the_format_holds(fmt: Format) -> None:
    for seed, (scale, offset) in enumerate(itertools.product((3, 30, 1e3), (0, -110, 300))):
        x, labels = drawn(seed, 20, scale, offset)
        for operation in OPERATIONS:
            case = Case(operation, np.arange(len(x)), x, None if operation is SOFTMAX else labels)
            setting = setting_of(case, Shared(fmt))
            with np.errstate(all="ignore"):
                output, _ = computed(get(f"{operation}/wide"), setting)
            codes = judge(output, setting.exact, fmt, input_overflow=setting.input_overflow, may_flush=True).codes
            assert {CODES[c] for c in codes.ravel()} <= {Outcome.OK, Outcome.INPUT_OVERFLOW}


# --- what is counted -----------------------------------------------------------------------------


MIXED = np.array(
    [
        [0.0, 1.0, 3.0],
        [np.nan, INF, -INF],
        [-INF, -INF, -INF],
        [2.0, 2.0, 2.0],
        [-INF, 5.0, -INF],
        [1.0, INF, 0.0],
        [-7.0, -INF, 0.5],
        [4.0, 4.0, -40.0],
    ]
)


def test_nan_infinities_masks_and_constant_rows_are_counted_and_the_first_is_named() -> None:
    found = inspected(MIXED[:3], MIXED[3:])
    assert {s.what: (s.rows, s.cells, s.first_file, s.first_row) for s in found.sightings} == {
        "nan": (1, 1, "part-0.npy", 1),
        "inf": (2, 2, "part-0.npy", 1),
        "masked": (4, 7, "part-0.npy", 1),
        "masked-row": (1, 1, "part-0.npy", 2),
        "single-class": (1, 1, "part-1.npy", 1),
        "constant-row": (1, 1, "part-1.npy", 0),
        "label-masked": (0, 0, "", None),
        "ignored": (0, 0, "", None),
    }
    assert (found.rows, found.judged_rows, found.smallest, found.largest) == (8, 5, -40.0, 5.0)


def test_labels_are_counted_where_they_are_masked_ignored_and_right() -> None:
    labels = np.array([2, 0, 1, 0, 0, 1, 2, -100])
    found = inspected(MIXED, labels=labels)
    assert (found.sighting("label-masked").rows, found.sighting("ignored").rows) == (2, 1)
    # Rows 0, 3 and 6 count, row 4 does not; in row 3 the label is the first of equal logits.
    assert (found.counted_rows, found.accuracy) == (4, 3 / 4)
    assert {(f.operation, f.rows) for f in found.forecasts} == {
        ("softmax", 5),
        ("cross_entropy", 4),
        ("cross_entropy_grad", 4),
    }


def test_quantiles_are_those_of_the_rows_that_have_a_softmax() -> None:
    found = {q.of: q for q in inspected(MIXED).quantiles}
    for of, right in {
        "maximum": [3.0, 2.0, 5.0, 0.5, 4.0],
        "spread": [3.0, 0.0, 0.0, 7.5, 44.0],
        "gap": [2.0, 0.0, 7.5, 0.0],
    }.items():
        wanted = np.quantile(right, [p / 100 for p in found[of].percent], method="inverted_cdf")
        assert found[of].values == tuple(wanted.tolist())
        assert (found[of].rows, found[of].digits) == (len(right), None)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "float64", ">f4"])
def test_logits_of_every_format_are_seen_as_the_same_numbers(dtype: str) -> None:
    x = np.random.default_rng(0).integers(-100, 100, (40, 30)).astype(np.float32)
    other = BFLOAT16.cast(x) if dtype == "bfloat16" else x.astype(dtype)
    assert told(inspected(other), but=("dtype", "size_bytes")) == told(inspected(x), but=("dtype", "size_bytes"))


def told(found: Inspection, but: tuple[str, ...] = ()) -> dict[str, object]:
    """Return everything but some fields, NaN made equal to itself."""
    return {k: repr(v) for k, v in dataclasses.asdict(found).items() if k not in ("source", "files", "notes", *but)}


def test_soft_targets_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(StablemaxError, match="soft targets") as caught:
        inspected(np.zeros((2, 3)), labels=np.full((2, 3), 1 / 3))
    assert "most likely class" in caught.value.hint
    assert "quote one pattern" in caught.value.hint, "two files that a shell found for an unquoted one"


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(StablemaxError, match="row 1: label 3 is out of range"):
        inspected(np.zeros((2, 3)), labels=np.array([0, 3]))


def test_integers_that_float64_does_not_hold_are_noted() -> None:
    assert "not exact in float64" in inspected(np.array([[2**53 + 1, 0]])).notes[-1]


# --- the same, however it is cut -----------------------------------------------------------------


ROWS = np.random.default_rng(3).standard_normal((60, 8)).astype(np.float32) * 12
ROWS[7, 3], ROWS[11, :4], ROWS[40], ROWS[41, 0] = np.nan, -INF, -INF, INF
LABELS = np.random.default_rng(4).integers(0, 8, 60)
LABELS[5] = -100


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(
    cuts=st.lists(st.integers(1, 59), max_size=3, unique=True),
    step=st.integers(1, 70),
    task=st.integers(1, 70),
    threads=st.integers(1, 3),
)
def test_the_result_is_the_same_for_any_files_blocks_and_threads(
    cuts: list[int], step: int, task: int, threads: int
) -> None:
    whole = told(inspected(ROWS, labels=LABELS), but=("sightings",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "ROWS_AT_A_TIME", task)
        patch.setattr(streaming, "STEP_CELLS", step * ROWS.shape[1])
        patch.setattr(streaming, "ALONE_CELLS", 0)
        parts = np.split(ROWS, sorted(cuts))
        cut = inspected(*parts, labels=LABELS, resources=Resources(threads=threads))
    assert told(cut, but=("sightings",)) == whole


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(st.permutations(range(6)))
def test_tallies_merge_in_any_order_to_the_same_result(order: list[int]) -> None:
    stream = stream_of(ROWS, labels=LABELS)
    formats = tuple(FORMATS)
    look = Look(stream, formats, 4, -100)

    def result(places: list[int]) -> dict[str, object]:
        with Workspace() as workspace, np.errstate(all="ignore"):
            tally = sum((look(Block(10 * i, 10 * i + 10), workspace) for i in places), Tally.of_nothing(len(formats)))
        return told(inspection_of(tally, stream, formats, ()))

    assert result(order) == result(list(range(6)))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4096, 16384), (300_000, 10)], ids=str)
def test_progress_is_told_often(shape: tuple[int, int]) -> None:
    seen: list[float] = []
    x = np.broadcast_to(np.float32(1.0), shape)
    inspected(
        x,
        formats=("float32",),
        resources=Resources(threads=2),
        progress=lambda done, size, what: seen.append(done / size),
    )
    assert max(np.diff(seen)) <= 1 / 5
    assert seen[-1] == 1


@pytest.mark.parametrize("piece", [3, 5, 8])
def test_rows_taken_in_pieces_come_out_as_whole_ones(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(inspected(ROWS, labels=LABELS)), told(inspected(ROWS))
    monkeypatch.setattr(inspection, "PIECE", piece)
    assert (told(inspected(ROWS, labels=LABELS)), told(inspected(ROWS))) == whole


def test_a_row_of_more_classes_than_fit_at_once_is_looked_at_again_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = tail(FLOAT8_E4M3FN)
    x[1] = x[1, ::-1]
    whole = inspected(x, formats=("float8_e4m3fn",))
    assert [f.shares.get(Outcome.LOST) for f in whole.forecasts if f.operation == "cross_entropy"] == [0.4, 0.6]
    monkeypatch.setattr(inspection, "PIECE", 700)
    assert told(inspected(x, formats=("float8_e4m3fn",))) == told(whole)


def test_a_job_can_be_sent_to_another_process() -> None:
    import pickle

    look = Look(stream_of(ROWS, labels=LABELS), ("float16",), 7, -100)
    again = pickle.loads(pickle.dumps(look))
    with Workspace() as workspace, np.errstate(all="ignore"):
        here, there = (one(Block(0, 20), workspace) for one in (look, again))
        sent = pickle.loads(pickle.dumps(there))
    assert (sent + there).outcomes.tolist() == (here + here).outcomes.tolist()


@pytest.mark.slow
def test_a_cluster_finds_what_threads_find() -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    whole = told(inspected(ROWS, labels=LABELS))
    assert told(inspected(ROWS, labels=LABELS, resources=Resources(threads=1, engine=EngineName.DASK))) == whole


# --- what it comes to ----------------------------------------------------------------------------


def test_the_narrowest_safe_format_is_named_and_why_a_narrower_one_is_not() -> None:
    x = np.array([[0.0, 3.0, 1.0]] * 9 + [[0.0, 7e4, 7e4]], np.float32)
    labels = np.array([1] * 10)
    found = inspected(x, labels=labels)
    assert [f.format for f in found.formats if f.safe] == ["bfloat16", "float32", "float64"]
    assert found.finding == (
        "bfloat16 is the narrowest format in which the shifted softmax, loss and gradient are safe for these logits; "
        "float16 cannot hold 10% of the rows."
    )


def test_what_goes_wrong_is_told_of_the_format_that_it_goes_wrong_in() -> None:
    found = inspected(np.array([[0.0, 20.0]], np.float32), formats=("float32", "float64"))
    assert found.finding.startswith(
        "float64 is the narrowest format in which the shifted softmax, loss and gradient are safe for these logits; in "
        "float32 the loss of the most likely class collapses to 0 in 100% of the rows."
    )


def test_a_loss_that_collapses_in_every_format_leaves_none_safe() -> None:
    x = np.array([[0.0, 50.0], [0.0, 1.0]])
    found = inspected(x, formats=("bfloat16", "float64"))
    assert not any(f.safe for f in found.formats)
    assert found.finding.startswith(
        "Neither float64 nor any narrower format judged is safe for these logits, even with the shifted formulas: in "
        "float64 the loss of the most likely class collapses to 0 in 50% of the rows."
    )
    assert found.finding.endswith("are safe on logits held in bfloat16.")


def test_logits_that_become_equal_in_a_format_are_told() -> None:
    found = inspected(np.array([[1000.0, 1001.0], [0.0, 2.0]]), formats=("bfloat16", "float32"))
    assert [f.tied for f in found.formats] == [0.5, 0.0]
    assert found.finding.endswith("The two largest logits of 50% of the rows become equal in bfloat16.")


def test_no_row_that_counts_leaves_the_softmax_to_judge_by() -> None:
    found = inspected(np.array([[0.0, 7e4], [0.0, 1.0]], np.float32), labels=np.array([-100, -100]))
    assert "float16 cannot hold 50% of the rows" in found.finding
    assert {f.rows for f in found.forecasts if f.operation != "softmax"} == {0}


def test_rows_without_a_softmax_are_told_apart_from_the_formats() -> None:
    assert inspected(MIXED).finding.endswith(
        "3 of 8 rows have no softmax in any format: a NaN or +inf, or nothing but -inf."
    )
    nothing = inspected(MIXED[1:3])
    assert nothing.finding.startswith("No row has a softmax")
    assert all(f.rows == 0 for f in nothing.forecasts)


def test_a_share_says_all_or_none_only_where_it_is() -> None:
    assert [percent_of(s) for s in (0.0, 1e-9, 0.12345, 1 - 1e-9, 1.0)] == [
        "0%", "fewer than 0.1%", "12.3%", "more than 99.9%", "100%",
    ]  # fmt: skip


def test_the_numbers_of_a_row_are_those_that_can_be_counted_by_hand() -> None:
    with Workspace() as workspace, np.errstate(all="ignore"):
        numbers = row_numbers(MIXED, np.zeros(8, np.int64), workspace)
    assert isinstance(numbers, RowNumbers)
    assert numbers.nans.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert numbers.masked.tolist() == [0, 1, 3, 0, 2, 0, 1, 0]
    assert numbers.second[[0, 4, 7]].tolist() == [1.0, -INF, 4.0]
    assert numbers.low[[0, 6, 7]].tolist() == [0.0, -7.0, -40.0]
    assert abs(numbers.odds[0] - (math.exp(-3) + math.exp(-2))) <= 2 * FLOAT64.u * numbers.odds[0]
    assert FLOAT32.round(numbers.label[6]) == -7.0
