"""The resources of a computation over a large input, and the plan that cuts the input to fit them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

from stablemax.compute.engines.threads import Engine, Threads
from stablemax.inputs.blocks import Block, blocks_of, tapering
from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.logits import Stream
from stablemax.inputs.workspace import Workspace
from stablemax.kernels.passes import PIECE
from stablemax.text.errors import StablemaxError
from stablemax.text.processor import available_threads
from stablemax.text.vocabulary import EngineName
from stablemax.text.words import counted

Progress = Callable[[int, int, str], None]


class Mergeable(Protocol):
    """The result of a block: results merge with ``+``, in any order to the same bits."""

    def __add__(self, other: Self, /) -> Self:
        """Merge two parts."""
        ...


Part = TypeVar("Part", bound=Mergeable)

STEP_CELLS = 1 << 19
"""Most logits that are computed at once: enough that a step's Python costs nothing, few enough for the cache."""
STEPS = 16
"""Most steps in a block, which is handed out as one: a hand-over wakes two threads."""
ALONE_CELLS = 1 << 18
"""An input of fewer logits is computed sooner than threads are started."""
BYTES_PER_CELL = 64
"""Memory of a worker for each logit of its block: as stored, widened, exponentials, errors, result."""
BYTES_PER_CELL_BY_VARIANT = 256
"""The same where a formula runs as it is written, each of whose operations makes an array, or results are proved."""
ROW_CELLS = 8
"""What a row of a block takes beside its logits (label, loss, its sum), in logits at most."""
PROOF_BYTES_PER_CLASS = 360
"""Memory of a worker for each class of a row that has to be proved, for which some forty arrays are made."""
RESERVED = 9 << 20
"""Bytes for everything that does not grow with the blocks."""


@dataclass(frozen=True)
class Resources:
    """The threads, memory and cluster that a computation may use."""

    threads: int | None = None  #: worker threads (or processes of a local cluster); all cores when not given
    #: Most bytes to use beside what the interpreter and its libraries take; no cap when not given.
    memory: int | None = None
    engine: EngineName = EngineName.THREADS  #: who computes
    scheduler: str | None = None  #: the address of a cluster's scheduler
    once: bool = False  #: whether the process ends afterwards, so that what it imports has to pay off at once

    @property
    def elsewhere(self) -> bool:
        """Whether other processes compute, which see files but not this one's memory."""
        return self.engine is not EngineName.THREADS


@dataclass(frozen=True)
class Plan:
    """The blocks that an input is cut into, and how they are computed."""

    blocks: list[Block]  #: all rows, in their order
    step: int  #: how many rows of a block are computed at once
    threads: int  #: how many blocks are computed at once


def plan(
    rows: int,
    classes: int,
    resources: Resources,
    *,
    whole: bool = False,
    by_variant: bool = False,
    may_prove: bool = False,
    steps: int = STEPS,
) -> Plan:
    """Cut rows into blocks; where a row may have to be proved, there is memory for that. One in pieces is not.

    >>> chosen = plan(2048, 32768, Resources(threads=2))
    >>> chosen.step, chosen.blocks[:2]
    (16, [Block(start=0, stop=256), Block(start=256, stop=512)])
    >>> plan(100, 1000, Resources(memory=1000))
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: --memory 1,000 bytes is too little for rows of 1,000 classes
    """
    threads = resources.threads or available_threads()
    least = classes if by_variant else min(classes, PIECE)
    size = BYTES_PER_CELL_BY_VARIANT if by_variant else BYTES_PER_CELL
    cells = affordable = STEP_CELLS
    if resources.memory is not None:
        available = max(0, resources.memory - RESERVED)
        proof = PROOF_BYTES_PER_CLASS * classes if may_prove and (by_variant or classes <= PIECE) else 0
        per_thread = least * size + proof
        if available < per_thread:
            raise StablemaxError(
                f"--memory {size_of(resources.memory)} is too little for rows of {counted(classes, 'class')}",
                f"give at least {math.ceil((RESERVED + per_thread) / 1e6)}MB",
            )
        threads = min(threads, available // per_thread)
        affordable = (available - threads * proof) // size
        cells = min(cells, affordable // threads)
    if whole:
        if resources.memory is not None and rows * classes > affordable:
            raise StablemaxError(
                "a formula that needs all rows at once does not fit into --memory", "leave --memory out"
            )
        return Plan([Block(0, rows)], max(1, rows), 1)
    most = cells // ROW_CELLS
    if rows * classes <= min(ALONE_CELLS, cells) and rows <= most:
        return Plan(blocks_of(rows, max(1, rows)), max(1, rows), 1)
    step = max(1, min(cells // classes, most, -(-rows // threads)))
    return Plan(tapering(rows, step, max(1, min(steps, most // step)), threads), step, threads)


def engine_for(resources: Resources, threads: int) -> AbstractContextManager[Engine]:
    """Return the engine that was asked for, which runs while its context is open."""
    if resources.engine is EngineName.THREADS:
        return contextlib.nullcontext(Threads(threads))
    from stablemax.compute.engines.cluster import cluster

    return cluster(resources.scheduler, workers=threads)


def for_engine(stream: Stream, resources: Resources) -> Stream:
    """Return an input as the workers of the engine can read it."""
    if resources.scheduler is None:
        # Once for all workers; machines of a cluster do not see a temporary file of this one.
        labels = None if stream.labels is None else stream.labels.in_row_order()
        stream = replace(stream, logits=stream.logits.in_row_order(), labels=labels)
    if not resources.elsewhere:
        return stream
    from stablemax.compute.engines.sending import for_workers

    return for_workers(stream, resources.scheduler)


def total_of(
    job: Callable[[Block, Workspace], Part],
    chosen_plan: Plan,
    nothing: Part,
    stream: Stream,
    resources: Resources,
    progress: Progress | None,
    what: str,
) -> Part:
    """Run a job on the blocks of an input, and merge its parts with ``+``."""
    total, size = nothing, stream.logits.size_bytes
    with engine_for(resources, chosen_plan.threads) as engine:
        if progress is not None:
            progress(0, size, what)
        for block, part in zip(chosen_plan.blocks, engine.run(job, chosen_plan.blocks), strict=True):
            total += part
            if progress is not None:
                progress(size * block.stop // stream.rows, size, what)
    return total
