"""The benchmark: turns, ratios, limits and memory, on a clock that tells what it is told."""

from __future__ import annotations

import math
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.bench import machine, memory
from stablemax.bench.bench_words import (
    Shape,
    TimedDtype,
    TimedPeer,
    finding,
    means,
    named,
    others,
    shape_of,
    slower_than,
    timed_operations,
    times,
)
from stablemax.bench.benchmark import bench
from stablemax.bench.implementations import whole_array_numpy
from stablemax.bench.judged_rows import MOST_CLASSES, JudgedRows
from stablemax.bench.plan import ARRAYS_HELD, BenchOptions, Case, Input
from stablemax.bench.timing import ENOUGH_S, MAX_CALLS, MIN_ROUNDS, TURN_S, in_turns, rehearsed
from stablemax.libraries import peers
from stablemax.operations import all_operations
from stablemax.text.errors import StablemaxError
from stablemax.text.processor import available_threads

from ..records import CROSS_ENTROPY, LOG_SOFTMAX, SOFTMAX, SOFTMAX_VJP
from .clockwork import Clock, Clockwork, clockworks, instruments, machine_of, sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.operations.operation import Operation

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="cores and peak memory are set and told by Linux")
MIB = 1 << 20


def spending(clock: Clock, log: list[str], name: str, *seconds: float) -> Callable[[], None]:
    """A call that takes these seconds, one after the other, and then always the last."""
    left = list(seconds)

    def call() -> None:
        log.append(name)
        clock.now += left.pop(0) if len(left) > 1 else left[0]

    return call


# --- turns --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_long_calls_take_turns_and_every_round_has_each_once() -> None:
    clock, log = Clock(), []  # type: tuple[Clock, list[str]]
    calls = {name: spending(clock, log, name, seconds) for name, seconds in (("a", 0.25), ("b", 0.5), ("c", 0.125))}
    found = in_turns(calls, 4, clock)
    assert found == {"a": [0.25] * 4, "b": [0.5] * 4, "c": [0.125] * 4}
    rounds = [log[i : i + 3] for i in range(6, len(log), 3)]
    assert log[:6] == ["a", "a", "b", "b", "c", "c"]
    assert [sorted(r) for r in rounds] == [["a", "b", "c"]] * 4
    assert len({tuple(r) for r in rounds}) > 1, "always in one order, after the same neighbour"


@pytest.mark.slow
def test_what_happens_at_first_use_is_in_no_time() -> None:
    clock = Clock()
    calls = {"compiled": spending(clock, [], "compiled", 0.75, 0.0625)}
    assert in_turns(calls, 2, clock) == {"compiled": [0.0625, 0.0625]}


def test_a_call_that_takes_long_is_rehearsed_once() -> None:
    clock, log = Clock(), []  # type: tuple[Clock, list[str]]
    assert rehearsed(spending(clock, log, "long", 2.0), clock) == 2.0
    assert rehearsed(spending(clock, log, "short", 0.5, 0.25), clock) == 0.25
    assert log == ["long", "short", "short"]


@pytest.mark.slow
def test_a_short_call_fills_its_turn_and_the_first_of_a_turn_does_not_count() -> None:
    clock, log = Clock(), []  # type: tuple[Clock, list[str]]
    short = TURN_S / 4
    found = in_turns({"short": spending(clock, log, "short", short)}, 3, clock)
    assert len(found["short"]) == 3 * 4
    assert len(log) == 2 + 3 * (1 + 4)
    endless = in_turns({"none": spending(clock, log, "none", 0.0)}, 1, clock)
    assert len(endless["none"]) == MAX_CALLS


@pytest.mark.slow
def test_rounds_go_on_until_the_calls_have_run_long_enough() -> None:
    clock = Clock()
    calls = {name: spending(clock, [], name, 0.0625) for name in "ab"}
    enough = math.ceil(ENOUGH_S / 0.0625)
    assert enough > MIN_ROUNDS
    assert {name: len(spent) for name, spent in in_turns(calls, None, clock).items()} == {"a": enough, "b": enough}
    slow = {"slow": spending(clock, [], "slow", 10.0)}
    assert len(in_turns(slow, None, clock)["slow"]) == MIN_ROUNDS


@pytest.mark.slow
def test_the_garbage_collector_rests_while_calls_are_timed() -> None:
    import gc

    seen = []
    in_turns({"a": lambda: seen.append(gc.isenabled())}, 1, iter(np.arange(1000.0)).__next__)
    assert seen[-1] is False
    assert gc.isenabled()


# --- results ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ratios_are_medians_over_our_median() -> None:
    result = sample()
    assert len(result.cases) == 2 * 2 * 2
    for case in result.cases:
        ours = case.timings[0]
        logits = case.rows * case.classes
        assert (ours.implementation, ours.ratio) == ("stablemax", 1.0)
        assert ours.median_s == pytest.approx(2e-9 * logits / case.threads, rel=1e-9)
        names = ["torch", "jax", *(["scipy"] if case.operation == "softmax" else []), "numpy"]
        assert [t.implementation for t in others(case)] == names
        expected = {"stablemax": 1.0, "torch": 1.999 / 2, "jax": 1.5, "numpy": 150.0}
        for t in case.timings:
            assert t.ratio == t.median_s / ours.median_s
            assert t.logits_per_s == logits / t.median_s
            assert t.fastest_s <= t.lower_quartile_s <= t.median_s <= t.upper_quartile_s <= t.slowest_s
            if t.implementation == "scipy":  # every call takes a quarter more or less
                assert 0.75 * 12.5 - 1e-3 < t.ratio < 1.25 * 12.5 + 1e-3
                assert t.slowest_s / t.fastest_s == pytest.approx(1.25 / 0.75, rel=1e-6)
            else:
                assert t.ratio == pytest.approx(expected[t.implementation], rel=1e-6)
                assert t.spread == 0
            assert t.formula == f"{t.implementation}.{case.operation}(x)"


@pytest.mark.slow
def test_the_spread_is_half_the_distance_between_the_quartiles() -> None:
    clock = Clock()
    uneven = (Clockwork("stablemax", 1.0, clock, swing=0.25), Clockwork("numpy", 1.0, clock))
    options = BenchOptions((SOFTMAX,), (Shape(1, 2),), (TimedDtype.FLOAT32,), (1,), repeat=4)
    ((ours, numpy),) = (c.timings for c in bench(options, instruments=instruments(clock), implementations=uneven).cases)
    assert (ours.fastest_s, ours.lower_quartile_s, ours.median_s, ours.upper_quartile_s) == (1.5, 1.5, 2.0, 2.5)
    assert (ours.calls, ours.spread, numpy.spread) == (4, 0.25, 0.0)


@pytest.mark.slow
def test_cases_come_by_operation_then_dtype_then_threads_then_shape() -> None:
    result = sample(dtypes=tuple(TimedDtype), shapes=(Shape(8, 16), Shape(4, 2)))
    found = [(c.operation, c.dtype, c.threads, c.rows) for c in result.cases]
    assert found == [
        (o, d, t, r) for o in ("softmax", "cross_entropy") for d in TimedDtype for t in (1, 2) for r in (8, 4)
    ]


@pytest.mark.parametrize("operation", timed_operations(), ids=str)
def test_the_limit_is_reading_for_a_number_a_row_and_copying_for_a_number_a_logit(operation: Operation) -> None:
    clock = Clock()
    options = BenchOptions((operation,), (Shape(10, 100),), (TimedDtype.FLOAT64,), (1,), repeat=1)
    (case,) = bench(options, instruments=instruments(clock), implementations=clockworks(clock)[:2]).cases
    writes = operation.name in ("softmax", "log_softmax", "cross_entropy_grad")
    assert (case.bound, case.limit_s) == (("copy", 1000 * 8 / 4e9) if writes else ("read", 1000 * 8 / 8e9))
    assert case.limit_share == case.limit_s / case.timings[0].median_s


@pytest.mark.slow
def test_every_timing_has_the_error_of_its_result() -> None:
    result = sample()
    for case in result.cases:
        errors = {t.implementation: t.error_ulp for t in case.timings}
        expected = {"stablemax": 0.5, "torch": 7.25, "jax": math.inf, "scipy": 0.5, "numpy": 120.5}
        assert errors == {name: expected[name] for name in errors}
        assert {t.correctly_rounded_share for t in case.timings if errors[t.implementation] == 0.5} == {1.0}
        assert case.judged_rows == 8


def test_rows_that_are_not_judged_have_no_error() -> None:
    clock = Clock()
    options = BenchOptions((SOFTMAX,), (Shape(1, MOST_CLASSES + 1),), (TimedDtype.FLOAT32,), (1,), repeat=1)
    given = instruments(clock, judge=JudgedRows)
    (case,) = bench(options, instruments=given, implementations=clockworks(clock)[:2]).cases
    assert case.judged_rows == 0
    assert {(t.error_ulp, t.correctly_rounded_share) for t in case.timings} == {(None, None)}
    assert finding((case,)).endswith("1 thread.")


@pytest.mark.slow
def test_peak_memory_is_kept_with_its_call_and_none_where_it_is_not_told() -> None:
    result = sample()
    for case in result.cases:
        peaks = {t.implementation: t.peak_bytes for t in case.timings}
        assert peaks["stablemax"] == MIB
        assert peaks["torch"] == 4 * case.rows * case.classes
        assert peaks["jax"] is None


@pytest.mark.slow
def test_the_threads_that_are_asked_for_are_the_threads_that_run() -> None:
    clock = Clock()
    implementations = clockworks(clock)[:2]
    options = BenchOptions((SOFTMAX,), (Shape(2, 3),), (TimedDtype.FLOAT32,), (2, 1, 2), repeat=1)
    result = bench(options, instruments=instruments(clock), implementations=implementations)
    assert [c.threads for c in result.cases] == [1, 2]
    assert [r.threads for r in result.rates] == [1, 2]
    assert [i.ran_with for i in implementations] == [[1, 2], [1, 2]]


@pytest.mark.slow
@LINUX
@pytest.mark.skipif(available_threads() < 2, reason="there is one core only")
def test_there_are_as_many_cores_as_threads() -> None:
    clock = Clock()
    implementations = clockworks(clock)[:2]
    options = BenchOptions((SOFTMAX,), (Shape(2, 3),), (TimedDtype.FLOAT32,), (1, 2), repeat=1)
    bench(options, instruments=instruments(clock), implementations=implementations)
    assert [i.ran_on for i in implementations] == [[1, 2], [1, 2]]


@pytest.mark.slow
def test_progress_counts_every_case_twice_for_memory_and_for_time() -> None:
    clock, steps = Clock(), []  # type: tuple[Clock, list[tuple[int, int, str]]]
    options = BenchOptions((SOFTMAX,), (Shape(2, 3), Shape(3, 2)), threads=(1,), repeat=1)
    bench(
        options,
        instruments=instruments(clock),
        implementations=clockworks(clock),
        progress=lambda *step: steps.append(step),
    )
    assert {total for _, total, _ in steps} == {8}
    assert [done for done, _, _ in steps] == sorted(done for done, _, _ in steps)
    assert steps[-1] == (7, 8, "softmax of 3x2 in float64, 1 thread")


def test_logits_are_the_same_numbers_in_both_dtypes() -> None:
    shape = Shape(5, 7)
    (x32, y32), (x64, y64) = (Input(shape, d).generated(3) for d in TimedDtype)
    assert [a.dtype.name for a in (x32, x64, y32)] == ["float32", "float64", "int64"]
    assert (x32 == x64.astype(np.float32)).all()
    assert (y32 == y64).all()
    assert 0 <= y32.min() <= y32.max() < shape.classes
    assert not (Input(shape, TimedDtype.FLOAT64).generated(4)[0] == x64).any()


# --- findings -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_finding_counts_the_cases_and_names_the_worst() -> None:
    result = sample()
    assert result.finding == (
        "stablemax is the fastest in 0 of 8 cases. At worst, torch takes 0.999 times its time: "
        f"{named(min(result.cases, key=lambda c: min(t.ratio for t in others(c))))}. "
        "Largest errors in ulp: stablemax 0.50, torch 7.25, jax broken, scipy 0.50, numpy 120."
    )
    clock = Clock()
    quick = (Clockwork("stablemax", 1e-9, clock), Clockwork("numpy", 2e-9, clock))
    options = BenchOptions((SOFTMAX,), (Shape(64, 1000), Shape(128, 1000)), (TimedDtype.FLOAT32,), (1,))
    won = bench(options, instruments=instruments(clock), implementations=quick)
    assert won.finding.startswith("stablemax is the fastest in all 2 cases. At the closest, numpy takes 2.00 times")
    assert finding(won.cases[:1]) == (
        "stablemax is the fastest: numpy takes 2.00 times its time: softmax, 64 x 1000, float32, 1 thread. "
        "Largest errors in ulp: stablemax 0.50, numpy 0.50."
    )


@pytest.mark.slow
def test_a_draw_is_no_defeat_and_a_ratio_below_one_never_reads_as_one() -> None:
    clock = Clock()
    level = (Clockwork("stablemax", 2.0**-20, clock), Clockwork("numpy", 2.0**-20, clock))
    options = BenchOptions((SOFTMAX,), (Shape(8, 8), Shape(16, 8)), (TimedDtype.FLOAT32,), (1,), repeat=1)
    result = bench(options, instruments=instruments(clock), implementations=level)
    assert "in all 2 cases" in result.finding
    assert times(math.nextafter(1.0, 0.0)) == "0.999"


@pytest.mark.slow
def test_what_is_slower_than_asked_is_found_the_slowest_first() -> None:
    cases = sample().cases
    assert slower_than(cases, 0.5) == []
    found = slower_than(cases, 2)
    assert {t.implementation for _, t in found} == {"torch", "jax"}
    assert len(found) == 2 * len(cases)
    assert [t.ratio for _, t in found] == sorted(t.ratio for _, t in found)


@pytest.mark.slow
def test_means_are_geometric() -> None:
    clock = Clock()
    # 4 and 1/4 times ours, by the number of threads: arithmetic means would depend on the order.
    uneven = Clockwork("numpy", 4.0, clock)
    uneven.call = lambda operation, x, y, threads: Clockwork(  # type: ignore[method-assign]
        "", 4.0 if threads == 1 else 0.25, clock
    ).call(operation, x, y, threads)
    options = BenchOptions((SOFTMAX,), (Shape(1, 4),), (TimedDtype.FLOAT32,), (1, 2), repeat=1)
    ours = Clockwork("stablemax", 1.0, clock)
    result = bench(options, instruments=instruments(clock), implementations=(ours, uneven))
    assert [t.ratio for c in result.cases for t in others(c)] == [4.0, 0.25]
    assert means(result.cases) == {"softmax": {"stablemax": 1.0, "numpy": 1.0}}


# --- what is left out ---------------------------------------------------------------------------


@pytest.mark.slow
def test_an_input_that_does_not_fit_is_left_out_with_a_note() -> None:
    options = BenchOptions((SOFTMAX,), (Shape(2, 8), Shape(4, 8)), threads=(1,), repeat=1)
    needed = ARRAYS_HELD * 4 * 8 * 8
    for available, left_out in ((needed, []), (needed - 1, ["4x8 in float64"])):
        clock = Clock()
        result = bench(
            options,
            instruments=instruments(clock, machine=lambda a=available: machine_of(available_bytes=a)),
            implementations=clockworks(clock),
        )
        assert [n.partition(" is left out")[0] for n in result.notes] == left_out
        assert len(result.cases) == 4 - len(left_out)
    with pytest.raises(StablemaxError, match="2x8 in float32 is left out") as error:
        options.inputs(ARRAYS_HELD * 2 * 8 * 4 - 1)
    assert error.value.hint == "a smaller --shape"
    assert options.inputs(None)[1] == [
        "this system does not tell how much memory is free: shapes are not checked against it"
    ]


@pytest.mark.slow
def test_one_whose_threads_cannot_be_bounded_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "HAS_AFFINITY", False)
    clock = Clock()
    implementations = (*clockworks(clock)[:2], Clockwork("jax", 3e-9, clock, needs_affinity=True))
    options = BenchOptions((SOFTMAX,), (Shape(2, 3),), (TimedDtype.FLOAT32,), repeat=1)
    result = bench(options, instruments=instruments(clock), implementations=implementations)
    assert [[t.implementation for t in c.timings] for c in result.cases] == [
        ["stablemax", "torch"],
        ["stablemax", "torch", "jax"],
    ]
    assert result.notes == ("jax is left out with 1 thread: its threads cannot be bounded on this system",)


@pytest.mark.slow
def test_an_operation_that_nothing_else_computes_is_left_out_with_a_note() -> None:
    clock = Clock()
    options = BenchOptions((SOFTMAX, CROSS_ENTROPY), (Shape(2, 3),), (TimedDtype.FLOAT32,), (1,), repeat=1)
    ours, *_, scipy, _ = clockworks(clock)
    result = bench(options, instruments=instruments(clock), implementations=(ours, scipy))
    assert [c.operation for c in result.cases] == ["softmax"]
    assert result.notes == ("cross_entropy is left out with 1 thread: nothing to time beside ours",)
    with pytest.raises(StablemaxError, match="nothing to time beside ours"):
        bench(options, instruments=instruments(clock), implementations=(ours,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operations": (SOFTMAX_VJP,)}, "softmax_vjp is not timed"),
        ({"repeat": 0}, "--repeat 0 is out of range"),
        ({"seed": -1}, "--seed -1 is out of range"),
    ],
)
def test_what_cannot_be_timed_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StablemaxError, match=message):
        BenchOptions(**changes)


@pytest.mark.parametrize("count", [0, -1, 3])
def test_more_threads_than_cores_are_refused(count: int) -> None:
    assert BenchOptions(threads=(2,)).thread_counts(2) == (2,)
    assert BenchOptions().thread_counts(1) == (1,)
    with pytest.raises(StablemaxError, match=f"--threads {count} is out of range") as error:
        BenchOptions(threads=(count,)).thread_counts(2)
    assert error.value.hint == "1 to 2, the cores there are"


@pytest.mark.parametrize("text", ["", "8", "8x", "x8", "0x8", "8x0", "-1x8", "8X8", "8x8x8", "8 x 8", "1e3x8", "٣x٣"])
def test_a_shape_is_two_whole_numbers(text: str) -> None:
    assert shape_of("2048x131072") == (2048, 131072)
    with pytest.raises(StablemaxError, match="is not ROWSxCLASSES"):
        shape_of(text)


# --- the machine --------------------------------------------------------------------------------


@LINUX
@pytest.mark.skipif(available_threads() < 2, reason="there is one core only")
def test_every_thread_is_held_to_the_cores_and_let_go_again() -> None:
    before = os.sched_getaffinity(0)
    assert len(before) > 1, "a test before this one has kept the cores"
    seen: dict[str, set[int]] = {}
    go, done = threading.Event(), threading.Event()

    def older() -> None:
        go.wait(10)
        seen["older"] = os.sched_getaffinity(0)
        done.wait(10)
        seen["older, after"] = os.sched_getaffinity(0)

    old = threading.Thread(target=older)
    old.start()
    with machine.on_cores(1):
        go.set()
        seen["this"] = os.sched_getaffinity(0)
        young = threading.Thread(target=lambda: seen.update(younger=os.sched_getaffinity(0)))
        young.start()
        young.join(10)
        while "older" not in seen:
            assert old.is_alive()
    done.set()
    old.join(10)
    first = {min(before)}
    assert seen == {"older": first, "this": first, "younger": first, "older, after": before}
    assert os.sched_getaffinity(0) == before


def test_rates_are_what_was_done_over_the_time_it_took() -> None:
    ticks = iter(range(1000))
    found = machine.rates(2, lambda: float(next(ticks)))
    assert found.read_bytes_per_s == 2 * machine._READ_CELLS * 8
    assert found.copy_bytes_per_s == machine._READ_CELLS * 8


@pytest.mark.slow
@LINUX
def test_the_peak_of_a_call_counts_what_it_gave_back_and_not_what_was_there() -> None:
    there = np.ones(8 * MIB)  # 64 MiB

    def call() -> Any:
        part = np.ones(4 * MIB)  # 32 MiB
        return part[: len(part) // 2] + there[: len(part) // 2]  # 16 MiB

    assert machine.tells_peak()
    assert abs(machine.peak_bytes(call) - 48 * MIB) < 4 * MIB
    assert machine.peak_bytes(lambda: None) < 4 * MIB


@pytest.mark.slow
@LINUX
def test_peak_memory_is_measured_in_a_process_of_its_own() -> None:
    options = BenchOptions((SOFTMAX,), threads=(1,), peers=(TimedPeer.NUMPY,))
    given = Input(Shape(512, 2048), TimedDtype.FLOAT64)  # 8 MiB
    seen: list[Case] = []
    found, notes = memory.peaks(options, [given], seen.append)
    case = Case(SOFTMAX, given, 1)
    assert (notes, seen, list(found)) == ([], [case, case], [(case, "stablemax"), (case, "numpy")])
    # The exponentials and their quotients; ours needs the output at least.
    assert abs(found[case, "numpy"] - 16 * MIB) < 2 * MIB
    assert found[case, "stablemax"] > 7 * MIB


@pytest.mark.slow
@LINUX
def test_peak_memory_counts_what_an_earlier_call_gave_back() -> None:
    for library in [one.name for one in peers()["jax"]]:
        pytest.importorskip(library, reason="XLA's results lie where the C library keeps what is freed")
    options = BenchOptions((SOFTMAX, LOG_SOFTMAX), threads=(1,), peers=(TimedPeer.JAX,))
    given = Input(Shape(512, 8192), TimedDtype.FLOAT32)  # 16 MiB
    found, _ = memory.peaks(options, [given], lambda _: None)
    outputs = {case.operation: count for (case, name), count in found.items() if name == "jax"}
    assert list(outputs) == list(options.operations)
    assert min(outputs.values()) > 15 * MIB


@LINUX
def test_a_process_that_dies_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found, notes = memory.peaks(BenchOptions(), [Input(Shape(2, 3), TimedDtype.FLOAT64)], lambda _: None)
    assert (found, notes) == ({}, ["some peak memory is not measured: its process ended with exit code 1"])


def test_a_system_without_a_peak_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_reset_peak", lambda: None)
    found, notes = memory.peaks(BenchOptions(), [Input(Shape(2, 3), TimedDtype.FLOAT64)], lambda _: None)
    assert (found, notes) == ({}, ["peak memory is not measured: this system does not tell it"])


def test_every_operation_that_is_timed_has_another_implementation_than_ours() -> None:
    assert timed_operations()
    assert set(timed_operations()) <= set(whole_array_numpy().formulas) | {o for o in all_operations() if o.libraries}
