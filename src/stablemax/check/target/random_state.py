"""Random numbers of somebody's code: each call begins with the same seed, and the caller keeps its own."""

# ruff: noqa: NPY002 - the code draws from these generators, whatever is recommended

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


class RandomNumbers:
    """The global generators of Python, of NumPy and, where it is loaded, of PyTorch."""

    def __init__(self) -> None:
        # Whatever code uses PyTorch has it in `sys.modules`.
        self._torch: Any = sys.modules.get("torch")
        self._before = self._states()

    def seed(self, seed: int) -> None:
        """Let them begin at a seed."""
        random.seed(seed)
        np.random.seed(seed % 2**32)
        if self._torch:
            self._torch.default_generator.manual_seed(seed)
            if self._torch.cuda.is_initialized():
                self._torch.cuda.manual_seed_all(seed)

    def put_back(self) -> None:
        """Let them go on as if nothing had been drawn."""
        of_python, of_numpy, of_torch = self._before
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        if self._torch:
            self._torch.random.set_rng_state(of_torch)

    def are_drawn_since(self, seed: int) -> bool:
        """True where a number was drawn since they began at a seed, where they begin again."""
        after = self._comparable(self._states())
        self.seed(seed)
        return after != self._comparable(self._states())

    def _states(self) -> tuple[Any, Any, Any]:
        return random.getstate(), np.random.get_state(), self._torch.random.get_rng_state() if self._torch else None

    def _comparable(self, states: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        of_python, (_, key, *rest), of_torch = states
        return of_python, key.tobytes(), tuple(rest), b"" if of_torch is None else of_torch.numpy().tobytes()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[RandomNumbers]:
    """Seed the global generators, and put them back at the end."""
    numbers = RandomNumbers()
    try:
        numbers.seed(seed)
        yield numbers
    finally:
        numbers.put_back()
