"""Generated logits and the notebooks' inputs."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.hazards.generated import MAX_CELLS, generate, preset
from stablemax.hazards.presets import PRESETS
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Distribution

SHAPE: dict[str, Any] = {"rows": 400, "classes": 100}


@pytest.mark.parametrize("distribution", Distribution)
def test_the_same_seed_gives_the_same_numbers(distribution: Distribution) -> None:
    first, again, other = (generate(seed=s, distribution=distribution) for s in (3, 3, 4))
    assert first.logits.tobytes() == again.logits.tobytes()
    assert first.labels is not None
    assert again.labels is not None
    assert first.labels.tobytes() == again.labels.tobytes()
    assert (first.logits.tobytes() == other.logits.tobytes()) is (distribution is Distribution.RAMP)


def test_a_seed_means_the_same_numbers_for_good() -> None:
    # NumPy keeps a generator's stream; what we do with it must not move under a published command.
    x = generate(seed=0, scale=1.0).logits
    assert x[0, :3].tolist() == np.random.default_rng(0).uniform(-1, 1, 3).tolist()
    digest = hashlib.sha256((x * 2.0**40).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "1837bcd5ce3c40e6"


@given(st.integers(0, 2**32), st.floats(1e-3, 1e300))
def test_uniform_logits_fill_the_interval_and_never_leave_it(seed: int, scale: float) -> None:
    x = generate(seed=seed, scale=scale, **SHAPE).logits
    assert (np.abs(x) <= scale).all()
    # The extremes of 40,000 numbers lie within 1 % of the ends, except with one seed in 10**80.
    assert x.max() > 0.99 * scale
    assert x.min() < -0.99 * scale


@given(st.integers(0, 2**32))
def test_normal_logits_have_the_mean_and_deviation_that_are_asked_for(seed: int) -> None:
    x = generate(seed=seed, scale=3.0, distribution=Distribution.NORMAL, **SHAPE).logits
    n = x.size
    # Six standard errors: of the mean 1/sqrt(n), of the variance sqrt(2/n).
    assert abs(x.mean() / 3) < 6 / np.sqrt(n)
    assert abs(x.var() / 9 - 1) < 6 * np.sqrt(2 / n)


def test_a_ramp_runs_from_minus_the_scale_to_the_scale_row_by_row() -> None:
    x = generate(scale=8.0, rows=3, classes=3, distribution=Distribution.RAMP).logits
    assert x.ravel().tolist() == [-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize("distribution", Distribution)
def test_an_offset_is_added_to_every_logit(distribution: Distribution) -> None:
    plain, moved = (generate(distribution=distribution, offset=o).logits for o in (0.0, 2.0**20))
    assert (moved == plain + 2.0**20).all()


def test_labels_are_classes_and_every_class_occurs() -> None:
    labels = generate(rows=1000, classes=5).labels
    assert labels is not None
    assert set(labels.tolist()) == set(range(5))


def test_a_scale_of_the_largest_number_still_gives_finite_logits() -> None:
    assert np.isfinite(generate(scale=1.7e308).logits).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"scale": -1.0},
        {"scale": np.nan},
        {"scale": np.inf},
        {"offset": np.nan},
        {"offset": -np.inf},
        {"rows": 0},
        {"classes": 0},
        {"rows": 10**12},
        {"rows": MAX_CELLS, "classes": 2},
        {"scale": 1.7e308, "offset": 1e308},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused_by_the_name_of_their_option(wrong: dict[str, float]) -> None:
    with pytest.raises(StablemaxError, match="--" + next(iter(wrong))) as caught:
        generate(**wrong)  # type: ignore[arg-type]
    assert caught.value.hint


# What NOTEBOOKS.md says of each input: shape, dtype, and a fact that only that input has.
FACTS: dict[str, tuple[tuple[int, int], str, Any]] = {
    "notebook-a": ((16, 64), "float32", lambda x, y: (np.abs(x) <= 50).all() and np.abs(x).max() > 45),
    "notebook-b-gentle": ((50, 10), "float64", lambda x, y: x.ravel().tolist() == np.linspace(-1, 1, 500).tolist()),
    "notebook-b-moderate": ((50, 10), "float64", lambda x, y: (x.min(), x.max()) == (-1, 500)),
    "notebook-b-loss": ((50, 10), "float64", lambda x, y: (x.min(), x.max()) == (-1, 1e5)),
    "notebook-b": ((50, 10), "float64", lambda x, y: (x.min(), x.max()) == (-1, 5e5)),
    "notebook-c": ((2, 3), "float64", lambda x, y: x.tolist() == [[1, 2, 3], [1000, 1001, 1002]]),
    "notebook-c-loss": (
        (2, 3), "float32",
        lambda x, y: x.tolist() == np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]], dtype=np.float32).tolist()
        and y.tolist() == [0, 2],
    ),
    "notebook-d": ((8, 3000), "float32", lambda x, y: abs(x.std() - 1) < 0.02 and abs(x.mean()) < 0.04),
    "notebook-d-gap": (
        (1000, 2), "float64",
        lambda x, y: np.allclose(x[:, 1] - x[:, 0], 1 - 0.002 * np.arange(1000), rtol=0, atol=1e-15) and not y.any(),
    ),
    "notebook-e": ((1, 20), "float32", lambda x, y: ((x >= 100) & (x < 101)).all() and len(set(x[0].tolist())) == 20),
    "notebook-e-small": ((1, 20), "float32", lambda x, y: ((x >= 0) & (x < 1)).all() and len(set(x[0].tolist())) == 20),
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_input_that_its_notebook_has(name: str) -> None:
    shape, dtype, fact = FACTS[name]
    problem = preset(name)
    assert problem.logits.shape == shape
    assert problem.logits.dtype == dtype
    assert problem.labels is not None
    assert problem.labels.shape == shape[:1]
    assert problem.labels.dtype == np.int64
    assert fact(problem.logits, problem.labels)


def test_the_labels_of_notebook_b_count_through_the_classes() -> None:
    labels = preset("notebook-b-loss").labels
    assert labels is not None
    assert labels.tolist() == [i % 10 for i in range(50)]


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(StablemaxError, match="'nope'") as caught:
        preset("nope")
    assert all(name in caught.value.hint for name in PRESETS)


def test_every_preset_is_drawn_the_same_twice() -> None:
    for name in PRESETS:
        assert preset(name).logits.tobytes() == preset(name).logits.tobytes()
