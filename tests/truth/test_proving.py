"""Double-double numbers tell what balls tell, on every operation, in every format, and most of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, get_format
from stablemax.operations import all_operations
from stablemax.operations.operation import Second
from stablemax.operations.targets import CellTargets, LabelTargets, SoftTargets
from stablemax.truth import balls, proving
from stablemax.truth.case import Case, Shared, case_of, setting_of
from stablemax.truth.enclosing import Enclosures
from stablemax.truth.measure import exact_result

from ..exactly import EVERY_FORMAT
from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, KL_DIVERGENCE, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, SOFTPLUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.hazards.catalogue import Hazard
    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.truth.measure import ExactResult

INF = math.inf
EACH = pytest.mark.parametrize("operation", all_operations(), ids=str)
EACH_HAZARD = pytest.mark.parametrize("hazard", HAZARDS.values(), ids=lambda h: h.name)
USUAL = (BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS["float8_e5m2"])


def both(prove: Callable[[], ExactResult]) -> tuple[ExactResult, ExactResult]:
    """The truth as double-double numbers and balls tell it together, and as balls alone do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proving, "FEWEST_CELLS", 0)
        together = prove()
        patch.setattr(proving, "FEWEST_CELLS", INF)
        return together, prove()


def assert_same(prove: Callable[[], ExactResult], fmt: Format, what: Any = "") -> None:
    """The same rounded numbers; exact values to the tenth digit of an ulp."""
    ours, theirs = both(prove)
    np.testing.assert_array_equal(ours.undefined, theirs.undefined)
    np.testing.assert_array_equal(ours.truth.rounded, theirs.truth.rounded, err_msg=str(what))
    a, b = ours.truth, theirs.truth
    same = (a.nearest == b.nearest) | (np.isnan(a.nearest) & np.isnan(b.nearest))
    with np.errstate(invalid="ignore"):
        distance = np.where(same, 0.0, (a.nearest - b.nearest) / fmt.ulp(b.nearest)) + (a.residual_ulp - b.residual_ulp)
    assert np.max(np.abs(distance), initial=0.0) <= 2.0**-33, what
    if fmt is FLOAT64:
        # Of a value half way between two numbers, either is nearest.
        assert (same | (np.abs(np.abs(a.residual_ulp) - 0.5) < 2.0**-30)).all(), what


def seconds(operation: Operation, x: Array, fmt: Format, rng: np.random.Generator) -> Iterator[Any]:
    """Second arguments of every kind."""
    rows, classes = x.shape

    def held(values: Array) -> Array:
        return fmt.round(values)

    if operation.second is Second.LABELS:
        labels = rng.integers(0, classes, rows)
        yield LabelTargets(labels, None, float(rows))
        yield LabelTargets(labels, held(rng.uniform(0.1, 3, (rows, 1))), 3.0)
        yield SoftTargets(held(rng.dirichlet(np.ones(classes), rows)), float(rows))
    elif operation.second is Second.CELL_TARGETS:
        yield CellTargets(rng.integers(0, 2, (rows, classes)).astype(np.float64), None, None, float(x.size))
        weight, pos_weight = (held(rng.uniform(0.1, 3, shape)) for shape in ((rows, classes), (1, classes)))
        yield CellTargets(held(rng.uniform(0, 1, (rows, classes))), weight, pos_weight, 7.0)
    elif operation.second is Second.UPSTREAM:
        yield held(rng.standard_normal((rows, classes)))
    elif operation.second is Second.LOGITS:
        yield x[:, ::-1].copy()
        yield held(np.clip(x + 0.125 * rng.standard_normal((rows, classes)), -fmt.max, fmt.max))
    else:
        yield None


def logits(fmt: Format, rng: np.random.Generator, rows: int, classes: int, scale: float, offset: float = 0.0) -> Array:
    x = rng.standard_normal((rows, classes)) * scale + offset
    return fmt.round(np.clip(x, -fmt.max, fmt.max))


def assert_same_on_random_logits(operation: Operation, fmt: Format, shapes: list[tuple[int, int]], scales: Any) -> None:
    rng = np.random.default_rng([fmt.precision, len(operation.name)])
    for scale in scales:
        for rows, classes in shapes:
            for offset in (0.0, min(1000.0, fmt.max / 4)):
                x = logits(fmt, rng, rows, classes, scale, offset)
                for second in seconds(operation, x, fmt, rng):
                    assert_same(
                        lambda x=x, s=second: exact_result(operation, x, s, fmt),  # type: ignore[misc]
                        fmt,
                        (scale, rows, classes, offset, type(second)),
                    )


@EACH
@pytest.mark.parametrize("fmt", USUAL, ids=lambda f: f.name)
def test_the_truth_about_random_logits_is_that_of_balls(operation: Operation, fmt: Format) -> None:
    assert_same_on_random_logits(operation, fmt, [(12, 5)], (1.0, 30.0, 1e4))


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("fmt", EVERY_FORMAT.values(), ids=EVERY_FORMAT)
def test_of_every_format_too(operation: Operation, fmt: Format) -> None:
    assert_same_on_random_logits(operation, fmt, [(12, 2), (6, 8), (1, 100)], (0.01, 50.0, 1e5))


@pytest.mark.slow
@pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
@pytest.mark.parametrize("operation", [SOFTMAX, LOG_SOFTMAX, CROSS_ENTROPY, CROSS_ENTROPY_GRAD], ids=str)
def test_of_a_million_cells_too(operation: Operation, fmt: Format) -> None:
    rng = np.random.default_rng(7)
    for scale in (5.0, 1e5):
        x = logits(fmt, rng, 170, 128, scale)
        second = next(seconds(operation, x, fmt, rng))
        assert_same(lambda x=x, s=second: exact_result(operation, x, s, fmt), fmt, scale)  # type: ignore[misc]


def assert_same_on_hazard(hazard: Hazard, fmt: Format) -> None:
    for operation in hazard.operations:
        case = case_of(hazard.case(fmt), operation)
        if case.logits.size and case.logits.size <= 5000:
            assert_same(lambda c=case: setting_of(c, Shared(fmt)).exact, fmt, operation)  # type: ignore[misc]


@EACH_HAZARD
def test_the_truth_about_a_hazard_is_that_of_balls(hazard: Hazard) -> None:
    for fmt in (FLOAT32, FLOAT64):
        assert_same_on_hazard(hazard, fmt)


@pytest.mark.slow
@EACH_HAZARD
@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_the_truth_about_a_hazard_is_that_of_balls_in_every_format(hazard: Hazard, fmt: Format) -> None:
    assert_same_on_hazard(hazard, fmt)


# --- what lies on a tie, or all but ----------------------------------------------------------------


def adversaries(fmt: Format) -> list[Array]:
    """Logits whose results are ties, lie beside one, or are as small as the format has numbers."""
    edge = math.log(fmt.smallest_subnormal)
    steps = np.arange(-8.0, 8.0) / 4
    with np.errstate(over="ignore"):
        near_half = [[0.0, math.log((2 * k + 1) * fmt.u / 2)] for k in range(1, 6)]
    rows = [
        [[0.0] * 8, [3.5] * 8],
        [[0.0] * 1024],
        np.repeat([[1.0, -2048.0, -4096.0]], 3, axis=0).tolist(),
        near_half,
        np.stack([steps * 0, steps + edge], axis=1).tolist(),
        np.stack([steps * 0, steps - 745.0], axis=1).tolist(),
        (2.0 ** np.arange(-12, 4))[:, None] * [[1.0, -1.0, 0.5]],
        (1.0 + fmt.u * np.arange(1, 9))[:, None] * [[2048.0, -2048.0, 1.0, 0.0]],
    ]
    return [fmt.round(np.clip(np.array(x, dtype=np.float64), -fmt.max, fmt.max)) for x in rows]


@EACH
@pytest.mark.parametrize("fmt", USUAL, ids=lambda f: f.name)
def test_ties_and_the_smallest_numbers_are_told_as_balls_tell_them(operation: Operation, fmt: Format) -> None:
    rng = np.random.default_rng(3)
    for i, x in enumerate(adversaries(fmt)):
        for second in list(seconds(operation, x, fmt, rng))[: 1 if x.size > 500 else 3]:
            assert_same(lambda x=x, s=second: exact_result(operation, x, s, fmt), fmt, i)  # type: ignore[misc]


def test_a_tail_of_which_only_the_sign_is_known_decides_a_tie_without_a_ball(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "FEWEST_CELLS", 0)
    monkeypatch.setattr(proving, "truth", None)
    # -2049 is a tie of float16; the exact value lies e**-2049 beyond it.
    x = np.array([[1.0, -2048.0]])
    assert exact_result(LOG_SOFTMAX, x, None, FLOAT16).truth.rounded.tolist() == [[-0.0, -2050.0]]
    assert exact_result(LOGSUMEXP, x + 2048, None, FLOAT16).truth.rounded.tolist() == [[2050.0]]
    assert exact_result(CROSS_ENTROPY, x, LabelTargets(np.array([1])), FLOAT16).truth.rounded.tolist() == [[2050.0]]
    soft = SoftTargets(np.array([[0.5, 0.5], [0.0, 1.0]]))
    losses = exact_result(CROSS_ENTROPY, np.array([[0.0, -4098.0], [1.0, -2048.0]]), soft, FLOAT16).truth.rounded
    assert losses.tolist() == [[2050.0], [2050.0]]
    assert exact_result(SOFTPLUS, np.array([[2049.0, 2051.0]]), None, FLOAT16).truth.rounded.tolist() == [
        [2050.0, 2052.0]
    ]


def test_a_weighted_loss_beside_a_tie_is_rounded_away_from_it_by_its_tail_alone() -> None:
    # 144 is a tie of float8_e5m2; the exact loss lies about e**-36864 above it.
    fmt, x = FORMATS["float8_e5m2"], np.array([[-57344.0, -20480.0]])
    targets = SoftTargets(np.array([[2.0**-8, 1.0]]))
    for exact in both(lambda: exact_result(CROSS_ENTROPY, x, targets, fmt)):
        assert exact.truth.rounded.tolist() == [[160.0]]


# --- how much they tell ----------------------------------------------------------------------------


@pytest.mark.parametrize("at_a_time", [1, 12, 30, 10**6])
def test_every_row_that_is_in_doubt_is_proved_however_few_at_a_time(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(23, 5))
    right = exact_result(SOFTMAX, x, None, FLOAT64).truth

    def in_doubt(*given: Any) -> tuple[Array, list[Array]]:
        certain, arrays = told(*given)
        certain[np.arange(len(certain)) % 7 != 3] = False
        arrays = [np.where(certain, part, np.nan) for part in arrays]
        return certain, arrays

    told: Any = proving._decided
    monkeypatch.setattr(proving, "_decided", in_doubt)
    monkeypatch.setattr(proving, "FEWEST_CELLS", 0)
    monkeypatch.setattr(proving, "BALLS_AT_A_TIME", at_a_time)
    found = exact_result(SOFTMAX, x, None, FLOAT64).truth
    np.testing.assert_array_equal(found.rounded, right.rounded)


def left_to_balls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the cells that balls prove."""
    cells: list[int] = []
    prove = balls.truth

    def counted(*args: Any, **options: Any) -> Any:
        proved = prove(*args, **options)
        cells.append(proved.nearest.size)
        return proved

    monkeypatch.setattr(proving, "truth", counted)
    return cells


@EACH
@pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_of_ordinary_logits_balls_are_asked_for_hardly_any_row(
    operation: Operation, fmt: Format, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, rng = left_to_balls(monkeypatch), np.random.default_rng(5)
    x = logits(fmt, rng, 100, 20, scale)
    for second in seconds(operation, x, fmt, rng):
        cells.clear()
        exact = exact_result(operation, x, second, fmt)
        # The divergence of rows that are nearly equal cancels by more than the digits beyond float64's.
        share = 0.2 if operation is KL_DIVERGENCE and fmt is FLOAT64 else 0.02
        assert sum(cells) <= share * exact.truth.nearest.size, type(second)


@pytest.mark.parametrize("operation", [SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY, CROSS_ENTROPY_GRAD], ids=str)
@pytest.mark.parametrize("fmt", [BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
def test_nor_where_nearly_every_exponential_is_0(
    operation: Operation, fmt: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, rng = left_to_balls(monkeypatch), np.random.default_rng(5)
    x = logits(fmt, rng, 100, 128, 1e5)
    exact = exact_result(operation, x, next(seconds(operation, x, fmt, rng)), fmt)
    assert sum(cells) <= 0.05 * exact.truth.nearest.size


@pytest.mark.parametrize("operation", [SOFTMAX, LOG_SOFTMAX, CROSS_ENTROPY, CROSS_ENTROPY_GRAD], ids=str)
def test_nor_of_rows_with_masked_classes(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, rng = left_to_balls(monkeypatch), np.random.default_rng(5)
    x = logits(FLOAT32, rng, 100, 20, 5.0)
    x[:, 7], x[50:, 3] = -INF, -INF
    for second in seconds(operation, x, FLOAT32, rng):
        cells.clear()
        assert_same(lambda s=second: exact_result(operation, x, s, FLOAT32), FLOAT32)  # type: ignore[misc]
        cells.clear()
        exact = exact_result(operation, x, second, FLOAT32)
        assert sum(cells) <= 0.02 * exact.truth.nearest.size, type(second)


def test_blocks_of_any_size_give_the_same_truth() -> None:
    x = logits(FLOAT64, np.random.default_rng(5), 37, 11, 5.0)
    whole = exact_result(SOFTMAX, x, None, FLOAT64).truth
    for size in (1, 50, 400):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(proving, "CELLS_PER_BLOCK", size)
            pieces = exact_result(SOFTMAX, x, None, FLOAT64).truth
        for part in ("nearest", "residual_ulp", "rounded"):
            np.testing.assert_array_equal(getattr(whole, part), getattr(pieces, part))


def test_an_emulated_format_with_the_range_of_float64_all_but() -> None:
    fmt = get_format("e10m24")
    x = fmt.round(np.random.default_rng(1).standard_normal((30, 20)) * 300)
    assert_same(lambda: exact_result(SOFTMAX, x, None, fmt), fmt)


def test_operations_on_the_same_logits_take_their_exponentials_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(5).normal(size=(40, 16)) * 10
    computed: list[int] = []
    exp = Enclosures.exp

    def counted(xp: Enclosures, a: Any) -> Any:
        computed.append(a.shape[0])
        return exp(xp, a)

    monkeypatch.setattr(Enclosures, "exp", counted)
    monkeypatch.setattr(proving, "CELLS_PER_BLOCK", 160)  # four blocks
    shared = Shared(FLOAT32)
    together = [setting_of(Case(o, np.arange(40), x), shared).exact for o in (SOFTMAX, LOG_SOFTMAX)]
    assert len(computed) == 4
    monkeypatch.setattr(proving, "MOST_REMEMBERED", 0)
    alone = [setting_of(Case(o, np.arange(40), x), Shared(FLOAT32)).exact for o in (SOFTMAX, LOG_SOFTMAX)]
    assert len(computed) == 12
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours.truth.nearest, theirs.truth.nearest)
        np.testing.assert_array_equal(ours.truth.residual_ulp, theirs.truth.residual_ulp)
