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

    def seed(self, seed: int) -> None:
        """Let them begin at a seed."""
        random.seed(seed)
        np.random.seed(seed % 2**32)
        if self._torch:
            self._torch.default_generator.manual_seed(seed)
            if self._torch.cuda.is_initialized():
                self._torch.cuda.manual_seed_all(seed)

    def are_drawn_since(self, seed: int) -> bool:
        """True where a number was drawn since they began at a seed, where they begin again."""
        after = _comparable(self.states())
        self.seed(seed)
        return after != _comparable(self.states())

    def states(self) -> tuple[Any, Any, Any]:
        """Return how far each has got."""
        return random.getstate(), np.random.get_state(), self._torch.random.get_rng_state() if self._torch else None

    def put_back(self, states: tuple[Any, Any, Any]) -> None:
        """Let them go on from states, as if nothing had been drawn since."""
        of_python, of_numpy, of_torch = states
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        if of_torch is not None:
            self._torch.random.set_rng_state(of_torch)


def _comparable(states: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    of_python, (_, key, *rest), of_torch = states
    return of_python, key.tobytes(), tuple(rest), b"" if of_torch is None else of_torch.numpy().tobytes()


@contextlib.contextmanager
def kept_random_numbers() -> Iterator[None]:
    """Put the global generators back after some calls: once for them all, as it takes as long as a call."""
    numbers = RandomNumbers()
    before = numbers.states()
    try:
        yield
    finally:
        numbers.put_back(before)
