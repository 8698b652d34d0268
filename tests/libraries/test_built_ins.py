"""Other libraries' built-ins as variants: what they promise, what they take, what is said of missing ones."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import pytest

from stablemax import libraries as peers
from stablemax.comparing.comparison import CompareOptions, compare_hazard
from stablemax.comparing.explanation import example
from stablemax.hazards.catalogue import HAZARDS, NEEDS, hazard_named, promised_for
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from stablemax.operations.targets import LabelTargets, in_arithmetic
from stablemax.operations.variant import Variant, evaluate, get
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError

from ..exactly import second_for

LIBRARY = pytest.mark.parametrize("library", peers.LIBRARIES)


def built_ins(library: str) -> tuple[Variant, ...]:
    pytest.importorskip(library, reason=f"{library}'s own built-ins are run")
    return peers.built_ins(library)


def verdict(name: str, hazard: str, fmt: Format = FLOAT32, **options: Any) -> Any:
    """Judge one built-in on one hazard."""
    built_in = next(b for b in built_ins(name.partition("/")[0]) if b.id == name)
    chosen = CompareOptions(
        formats=(fmt,), operations=(built_in.operation,), patterns=(name,), built_ins=(built_in,), **options
    )
    (found,) = compare_hazard(hazard_named(hazard), chosen).verdicts
    return found


@pytest.mark.slow
@LIBRARY
def test_a_built_in_does_what_it_promises(library: str) -> None:
    for built_in in built_ins(library):
        for hazard in promised_for(built_in.operation).values():
            found, promise = example(built_in, hazard).outcome, built_in.promises.get(hazard.name, Outcome.OK)
            if hazard.name == "constant-upstream" and promise.is_failure:
                # Nothing but rounding is left of it: a fused multiply-add turns a 0 into another wrong number.
                assert found in (Outcome.INACCURATE, Outcome.LOST)
            else:
                assert found is promise, (built_in.id, hazard.name)


@LIBRARY
def test_a_built_in_is_declared_like_a_variant(library: str) -> None:
    for built_in in built_ins(library):
        assert built_in.id == f"{library}/{built_in.operation}"
        assert built_in.summary
        assert set(built_in.reasoning) == {"Why it holds", "Where it breaks"}
        cure = get(built_in.cure)
        assert cure.operation is built_in.operation
        # Where a row has no value, neither has the cure's.
        assert set(cure.promises) <= {"row-all-neg-inf", "positive-infinity"}
        assert set(built_in.takes) <= set(NEEDS)
        assert set(built_in.promises) <= set(promised_for(built_in.operation))
        assert peers.find(built_in.id).function is built_in.function


@pytest.mark.slow
@LIBRARY
@pytest.mark.parametrize("fmt", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=lambda f: f.name)
def test_a_built_in_keeps_the_format_the_shape_and_its_input(library: str, fmt: Format) -> None:
    xp = Arithmetic(fmt)
    x = xp.array(np.random.default_rng(0).normal(size=(3, 5)))
    x.flags.writeable = False
    for built_in in built_ins(library):
        if fmt.name not in built_in.supports:
            assert built_in.refusal(fmt.name, 5) == f"takes no {fmt.name}"
            continue
        out = evaluate(built_in, x, xp, in_arithmetic(second_for(built_in.operation, x), xp))
        assert out.dtype == fmt.dtype, built_in.id
        assert out.shape == ((3,) if built_in.operation.per_row else (3, 5)), built_in.id


@pytest.mark.parametrize(
    ("name", "hazard", "fmt", "outcome"),
    [
        # pytorch 11752, optax PR 1792: three equal logits at 1e8
        ("optax/cross_entropy", "large-offset-tie", FLOAT32, Outcome.LOST),
        ("torch/cross_entropy", "large-offset-tie", FLOAT32, Outcome.OK),
        # scipy PR 21597, scipy 19521: [0, -40]
        ("torch/logsumexp", "nearly-certain", FLOAT64, Outcome.LOST),
        ("scipy/logsumexp", "nearly-certain", FLOAT64, Outcome.OK),
        ("torch/log_softmax", "nearly-certain", FLOAT64, Outcome.LOST),
        ("scipy/log_softmax", "nearly-certain", FLOAT64, Outcome.LOST),
        # arXiv 2501.04697: [0, 17]
        ("torch/cross_entropy", "collapse", FLOAT32, Outcome.LOST),
        ("torch/cross_entropy_grad", "collapse", FLOAT32, Outcome.LOST),
        ("optax/cross_entropy_grad", "collapse", FLOAT32, Outcome.LOST),
        # optax 896, and torch too: a soft label of 0 at a -inf logit
        ("torch/cross_entropy", "soft-zero-at-neg-inf", FLOAT32, Outcome.NAN),
        ("optax/cross_entropy", "soft-zero-at-neg-inf", FLOAT32, Outcome.NAN),
        # pytorch 11551: an ignored row of -inf poisons the gradient
        ("torch/cross_entropy_grad", "ignored-row-all-neg-inf", FLOAT32, Outcome.NAN),
        ("torch/cross_entropy", "ignored-row-all-neg-inf", FLOAT32, Outcome.OK),
        # pytorch 25571: the weighted mean divides by the sum of the labels' weights
        ("torch/cross_entropy", "weights-far-apart", FLOAT32, Outcome.OK),
        # pytorch 85791: the float16 sum of 20,500 losses of log 1000 leaves the format, their mean does not
        ("torch/cross_entropy", "many-uniform-rows", FLOAT16, Outcome.OVERFLOW),
        # pytorch 6864, 25110, 70348: no value exists
        ("torch/softmax", "positive-infinity", FLOAT32, Outcome.UNDEFINED),
        ("torch/softmax", "row-all-neg-inf", FLOAT32, Outcome.UNDEFINED),
        ("torch/cross_entropy", "all-rows-ignored", FLOAT32, Outcome.UNDEFINED),
        ("torch/cross_entropy", "no-rows", FLOAT32, Outcome.UNDEFINED),
        # pytorch 49844, 135359, 102894, optax PR 431: logits of -inf and inf whose targets agree
        ("torch/binary_cross_entropy", "infinite-logits", FLOAT32, Outcome.NAN),
        ("optax/binary_cross_entropy", "infinite-logits", FLOAT32, Outcome.NAN),
        # [-20, 20] with targets [0, 1]: one log-probability is subtracted from x, the other is not
        ("torch/binary_cross_entropy", "confident-and-right", FLOAT32, Outcome.LOST),
        ("optax/binary_cross_entropy", "confident-and-right", FLOAT32, Outcome.OK),
        # tvm 20184: a softplus that is x from 20 on is off by 2e-9, which float64 shows
        ("torch/softplus", "past-a-threshold-of-20", FLOAT64, Outcome.OK),
        # pytorch 80488: rows that are nearly equal
        ("torch/kl_divergence", "nearly-equal-rows", FLOAT32, Outcome.INACCURATE),
        # pytorch 40553: a masked class has no entropy of its own, and does not make one NaN any more
        ("torch/entropy", "masked-last-class", FLOAT32, Outcome.OK),
    ],
)  # fmt: skip
def test_the_public_issues_show(name: str, hazard: str, fmt: Format, outcome: Outcome) -> None:
    found = verdict(name, hazard, fmt)
    assert found.worst is outcome, (found.worst, found.cause)
    assert found.accumulation == "library"


def test_a_built_in_that_takes_no_ignored_rows_is_not_run_on_them() -> None:
    found = verdict("optax/cross_entropy", "ignored-row-all-neg-inf")
    assert (found.worst, found.skipped) == (None, "takes no ignore-index")
    assert verdict("optax/cross_entropy", "weights-far-apart").skipped == "takes no weights"


def test_the_gradient_of_an_ignored_row_is_0_whatever_is_in_it() -> None:
    found = verdict("torch/cross_entropy_grad", "ignored-label-of-101-classes", show_values=2)
    assert (found.worst, found.values[1].values) == (Outcome.OK, (0.0,) * 101)


def test_a_class_weight_reaches_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch's own weighted mean is the measure")
    case = HAZARDS["weights-far-apart"].case(FLOAT32)
    assert case.weight is not None
    built_in = peers.find("torch/cross_entropy")
    weights = case.weight[case.labels][:, None].astype(np.float32)
    x, labels = case.logits.astype(np.float32), case.labels
    assert built_in.mean is not None
    mean = built_in.mean(x, LabelTargets(labels, weights), Arithmetic(FLOAT32))
    arguments = torch.tensor(x), torch.tensor(labels), torch.tensor(case.weight.astype(np.float32))
    assert float(mean) == float(torch.nn.functional.cross_entropy(*arguments))
    assert float(mean) != float(torch.nn.functional.cross_entropy(*arguments[:2])), "a weight that does nothing"


def test_a_gradient_that_is_not_of_the_mean_is_divided_as_asked() -> None:
    pytest.importorskip("torch", reason="PyTorch's gradient is taken")
    x = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]], dtype=np.float32)
    built_in, labels = peers.find("torch/cross_entropy_grad"), np.array([0, 2])
    mean, total, eighth = (
        evaluate(built_in, x, Arithmetic(FLOAT32), LabelTargets(labels, None, d)) for d in (2.0, 1.0, 8.0)
    )
    assert (mean * np.float32(2) == total).all()
    assert (eighth * np.float32(8) == total).all()


@LIBRARY
def test_nothing_of_a_library_reaches_the_warnings(library: str, recwarn: pytest.WarningsRecorder) -> None:
    x = np.array([[np.inf, -np.inf, 1e30, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for built_in in built_ins(library):
            xp = Arithmetic(FLOAT32)
            evaluate(built_in, xp.array(x), xp, in_arithmetic(second_for(built_in.operation, x), xp))
    assert not [w for w in recwarn if "ResourceWarning" not in str(w.category)]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of libraries that cannot be found during the test."""
    gone: set[str] = set()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in gone else find(name, *a))
    return gone


@pytest.mark.parametrize(
    ("library", "extra"), [("torch", "torch"), ("jax", "jax"), ("optax", "jax"), ("scipy", "scipy")]
)
def test_a_missing_library_is_an_error_with_its_install_line(library: str, extra: str, without: set[str]) -> None:
    without.add(library)
    with pytest.raises(StablemaxError, match=f"{library} is not installed") as error:
        peers.find(f"{library}/softmax")
    assert error.value.hint == f'pip install "stablemax[{extra}]"'


def test_all_takes_what_is_installed_and_names_what_is_not(without: set[str]) -> None:
    pytest.importorskip("scipy", reason="one library has to be there")
    without |= {"torch", "jax", "optax"}
    found, notes = peers.chosen(["all"])
    assert {b.library for b in found} == {"scipy"}
    assert [n.partition(" ")[0] for n in notes] == ["torch", "jax", "optax"]
    without.add("scipy")
    with pytest.raises(StablemaxError, match="none of torch, jax and scipy is installed"):
        peers.chosen(["all"])


def test_jax_without_optax_is_jax_with_a_note(without: set[str]) -> None:
    pytest.importorskip("jax", reason="JAX has to be there")
    without.add("optax")
    found, notes = peers.chosen(["jax"])
    assert {b.library for b in found} == {"jax"}
    assert notes == ('optax is not installed and left out; pip install "stablemax[jax]"',)


def test_a_wrong_name_of_a_built_in_is_told_with_the_nearest() -> None:
    built_ins("scipy")
    with pytest.raises(StablemaxError, match="no built-in 'scipy/logsum'") as error:
        peers.find("scipy/logsum")
    assert error.value.hint == "did you mean scipy/logsumexp?"


@pytest.mark.parametrize("library", ["torch", "jax", "scipy"])
def test_an_impossible_device_is_refused_and_the_cpu_is_not(library: str) -> None:
    plain = built_ins(library)[0]
    here = peers.built_ins(library, "cpu")[0]
    x = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    assert (evaluate(here, x, Arithmetic(FLOAT32)) == evaluate(plain, x, Arithmetic(FLOAT32))).all()
    assert here.summary == plain.summary
    with pytest.raises(StablemaxError, match=f"{library} has no device 'nonsense'"):
        peers.built_ins(library, "nonsense")
