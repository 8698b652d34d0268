"""What a variant gives in a setting: the bits of its format's own arrays, whatever computed them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.emulated import Emulated
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, Format
from stablemax.operations.targets import in_arithmetic
from stablemax.operations.variant import evaluate, get, variants
from stablemax.truth import verdicts
from stablemax.truth.case import Case, Shared, setting_of

from ..exactly import second_for
from ..records import SOFTMAX

X = np.random.default_rng(3).uniform(-12, 12, (520, 6))
X[1], X[2, 3], X[3, 2], X[4, 1] = -np.inf, -np.inf, np.inf, np.nan


@pytest.mark.parametrize("variant", variants(), ids=lambda v: v.id)
def test_float16_comes_out_as_numpy_computes_it(variant: Any) -> None:
    xp = Arithmetic(FLOAT16)
    quick = verdicts._quickest(variant, X, xp)
    assert quick.format.is_emulated
    x = xp.array(X)
    second = in_arithmetic(
        second_for(variant.operation, x, np.arange(len(X)) % 6, np.random.default_rng(4).normal(size=X.shape)), xp
    )
    own, emulated = (evaluate(variant, a.array(x), a, in_arithmetic(second, a)) for a in (xp, quick))
    assert isinstance(emulated, Emulated)
    np.testing.assert_array_equal(xp.array(emulated), own)


@pytest.mark.parametrize(
    ("fmt", "rows", "name", "emulates"),
    [
        (FLOAT16, 520, "shifted", True),
        (FLOAT16, 20, "shifted", False),
        (BFLOAT16, 520, "shifted", False),
        (FLOAT32, 520, "shifted", False),
    ],
)
def test_many_rows_of_float16_are_emulated(fmt: Format, rows: int, name: str, emulates: bool) -> None:
    setting = setting_of(Case(SOFTMAX, np.arange(rows), X[:rows]), Shared(fmt))
    variant = get(f"softmax/{name}")
    assert isinstance(verdicts._quickest(variant, setting.x, setting.xp).array(setting.x), Emulated) is emulates
    output, _ = verdicts.computed(variant, setting)
    assert output.dtype == fmt.dtype
