"""Any function of JAX, searched for the smallest input that breaks its gradient, and the test to paste."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

jax = pytest.importorskip("jax", reason="code of JAX is checked")
import jax.numpy as jnp  # noqa: E402

from stablemax.check.any_function.checking import checked  # noqa: E402
from stablemax.check.any_function.function_search import FunctionOptions  # noqa: E402
from stablemax.check.any_function.input_ranges import RangedArgument  # noqa: E402
from stablemax.check.target.any_target import AnyTarget  # noqa: E402
from stablemax.check.target.load import Code  # noqa: E402
from stablemax.check.target.messages import FurtherArgument, Target  # noqa: E402
from stablemax.cli.argument_ranges import range_of  # noqa: E402
from stablemax.numerics.formats import FLOAT32  # noqa: E402
from stablemax.results import Grade  # noqa: E402


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """Give a module that a pasted test imports the function from; the test lets JAX have 64 bits."""
    made = types.ModuleType("their_jax_code")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]
    jax.config.update("jax_enable_x64", False)


def scaled_roots(x: Any, scale: Any) -> Any:
    return (scale * jnp.where(x > 0, jnp.sqrt(x), 0.0)).sum()


def sound_roots(x: Any, scale: Any) -> Any:
    return (scale * jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)).sum()


def test_a_gradient_by_several_arrays_is_searched_and_written_as_jax_takes_it(module: types.ModuleType) -> None:
    ranges = []
    for place, (name, text) in enumerate({"x": "linspace(0, 4, 2)", "scale": "uniform(1, 2, 2)"}.items()):
        found = range_of(name, text)
        assert found is not None
        ranges.append(RangedArgument(name, found, place, text))
    further = tuple(FurtherArgument(one.name, one.drawn(FLOAT32, 0), one.text) for one in ranges)
    target = Target("their_jax_code:scaled_roots", backend="jax", further=further, backward=True, is_any=True)
    options = FunctionOptions(tuple(ranges), (FLOAT32,), effort=0.1)
    report = checked(AnyTarget(target, Code(scaled_roots, "scaled_roots")), target, options)
    assert (report.grade, report.counterexample is None) == (Grade.UNSTABLE, False)
    assert report.counterexample is not None
    assert "jnp.where hands back 0 for the branch that it does not take" in report.blame
    pasted = report.counterexample.test
    assert "argnums=(0, 1))(x, scale)" in pasted

    def run_pasted(function: Any) -> None:
        vars(module)["scaled_roots"] = function
        names: dict[str, Any] = {}
        exec(pasted, names)
        (test,) = (value for name, value in names.items() if name.startswith("test_"))
        test()

    with pytest.raises(AssertionError):
        run_pasted(scaled_roots)
    run_pasted(sound_roots)
