"""What is asked of somebody's code, and what came of it: data that travels between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablemax.formats import Array
    from stablemax.vocabulary import Operation


@dataclass(frozen=True)
class Order:
    """What to load, and how it is meant.

    Parameters
    ----------
    target : str
        ``file.py:function``, ``module:function``, a variant's or a peer's id.
    operation : Operation, optional
        What it computes; read off its name when not given.
    backend : str
        ``numpy``, ``torch`` or ``jax``; empty to find out.
    device : str, optional
        For torch and jax.
    backward : bool
        Judge the gradient that autograd takes of it, instead of itself.
    """

    target: str
    operation: Operation | None = None
    backend: str = ""
    device: str | None = None
    backward: bool = False


@dataclass(frozen=True)
class Described:
    """What was loaded.

    Parameters
    ----------
    name : str
        What to call it.
    operation : Operation
        What it computes.
    backend : str
        On whose arrays.
    takes : frozenset of str
        What it takes beyond logits and labels, from `hazards.NEEDS`.
    formats : tuple of str
        The only formats that it can be run in; empty for no known limit.
    place : str
        What its name is imported from: a file, or a module; empty where nothing can import it.
    expression : str
        How it is written there: ``softmax``, ``CrossEntropyLoss()``.
    """

    name: str
    operation: Operation
    backend: str
    takes: frozenset[str] = frozenset()
    formats: tuple[str, ...] = ()
    place: str = ""
    expression: str = ""


@dataclass(frozen=True)
class Question:
    """One call: arrays in the number format, as the function gets them.

    Parameters
    ----------
    x : ndarray (N, K)
        Logits.
    second : ndarray, optional
        Labels (N,) of int64, soft targets (N, K), or the upstream gradient (N, K).
    options : dict
        ``ignore_index``, ``weight``, ``label_smoothing``, where they are to be passed.
    """

    x: Array
    second: Array | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Parameters
    ----------
    output : ndarray or None
        What was returned; None where there is trouble.
    trouble : str
        What happened instead: an exception, junk, no answer in time; empty when all went well.
    changed_input : bool
        True where the function wrote into its arguments.
    printed : str
        What it printed, bounded.
    """

    output: Array | None
    trouble: str = ""
    changed_input: bool = False
    printed: str = ""
