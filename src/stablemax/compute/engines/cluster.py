"""A dask.distributed cluster: blocks are tasks, and nothing bigger than their results travels."""

from __future__ import annotations

import contextlib
import logging
import sys
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic

import numpy as np

from stablemax import __version__
from stablemax.compute.engines.signals import no_interrupts_in_processes, signals_for_later
from stablemax.compute.engines.threads import Result
from stablemax.inputs.blocks import Block
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.temporary_folder import new_folder
from stablemax.inputs.workspace import Workspace
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import check_files, limit_reached, limit_told

CONNECT_S = 5.0
"""How long a scheduler may take to answer."""
WORKERS_S = 15.0
"""How long a scheduler may be without any worker: one that died is started again within this time."""
CLOSE_S = 10.0
"""How long the processes of a local cluster may take to end before they are killed."""
TASKS_PER_THREAD = 64
"""Tasks for each thread of the cluster at most: the scheduler spends about a millisecond on each."""
BLOCKS_PER_TASK = 8
"""Blocks in a task where there are enough of them: as long as it takes to hand over some tasks."""
LEAST_PER_THREAD = 4
"""Tasks for each thread at least, as far as there are blocks: the last ones end at about the same time."""
SCHEDULER_FILES, WORKER_FILES = 32, 12
"""Files that a scheduler and its client hold open at once, and how many more for each worker: sockets, pipes, logs."""
SILENT = logging.CRITICAL + 1
"""A level that no message has."""
IN_FLIGHT = 8
"""Tasks for each thread that the scheduler holds at once."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a scheduler."""

    client: Any  #: connected to it

    def run(self, job: Callable[[Block, Workspace], Result], blocks: Sequence[Block]) -> Iterator[Result]:
        """Give the results in the order of the blocks."""
        name = f"stablemax-{uuid.uuid4().hex}"
        compute = _computing()
        with _connected():
            threads = max(1, sum(self.client.nthreads().values()))
            # A task that returns the job, and not `scatter`: if all who hold it die, it is run again.
            job_future = self.client.submit(bytes, _pickled(job), key=(f"{name}-job", 0))
        pending: deque[Any] = deque()
        try:
            for number, group in enumerate(_groups(blocks, threads)):
                # Keys that are pairs make the tasks one group, which the scheduler spreads over all
                # workers at once; others it sends to who holds the job, and lets them be stolen later.
                with _connected():
                    pending.append(self.client.submit(compute, job_future, _pickled(group), key=(name, number)))
                if len(pending) >= IN_FLIGHT * threads:
                    yield from self._wait(pending.popleft())
            while pending:
                yield from self._wait(pending.popleft())
        finally:
            # Also where the caller takes no more results: tasks that have not begun are cancelled.
            with contextlib.suppress(Exception):
                self.client.cancel([*pending, job_future])

    def _wait(self, future: Any) -> list[Any]:
        distributed = _distributed()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    return list(future.result(timeout=WORKERS_S))
                if future.done():  # the job's own TimeoutError
                    return list(future.result())
                with _connected():
                    threads = self.client.nthreads()
                if not threads:
                    raise _no_workers(self.client)
        except distributed.scheduler.KilledWorker as error:
            raise StablemaxError(
                f"{error.allowed_failures + 1} workers died, one after the other, of the same rows",
                "they had too little memory, most likely: give less with --memory, or give the workers more",
            ) from None
        except (distributed.CancelledError, distributed.comm.CommClosedError):
            raise _lost() from None
        except ImportError as error:
            raise StablemaxError(
                f"a worker cannot load what it is to compute ({brief(error, 200)})",
                "install the same stablemax in the environment of each worker",
            ) from None


@dataclass(frozen=True)
class _Group(Generic[Result]):
    """Neighbouring blocks, as a function of the job."""

    blocks: tuple[Block, ...]

    def __call__(self, job: Callable[[Block, Workspace], Result]) -> list[Result]:
        try:
            with np.errstate(all="ignore"), Workspace() as workspace:
                return [job(block, workspace) for block in self.blocks]
        except FileNotFoundError as error:
            raise _not_found(f"{error.filename}: no such file") from None
        except StablemaxError as error:
            # A mistyped path was refused before any worker was asked.
            if isinstance(error.__context__, FileNotFoundError):
                raise _not_found(error.message) from None
            raise


def _pickled(value: object) -> bytes:
    return bytes(_distributed().protocol.pickle.dumps(value))


def _computing() -> Callable[[bytes, bytes], list[Any]]:
    """Return the function of every task, which needs nothing of ours until it runs.

    A scheduler or worker that cannot load a message itself ends its connection, and so the
    cluster; here that is the error of a task. A function in a function is sent as its code.
    """

    def compute(job: bytes, group: bytes) -> list[Any]:
        import pickle

        try:
            run, what = pickle.loads(group), pickle.loads(job)  # noqa: S301 - who sends it could run anything anyway
        except Exception as error:
            raise ImportError(f"{type(error).__name__}: {error}") from None
        return list(run(what))

    return compute


def _groups(blocks: Sequence[Block], threads: int) -> Iterator[_Group[Any]]:
    size = max(
        -(-len(blocks) // (TASKS_PER_THREAD * threads)),
        min(BLOCKS_PER_TASK, -(-len(blocks) // (LEAST_PER_THREAD * threads))),
    )
    for start in range(0, len(blocks), size or 1):
        yield _Group(tuple(blocks[start : start + size]))


@contextlib.contextmanager
def cluster(address: str | None, workers: int) -> Iterator[Cluster]:
    """Connect to a cluster, or start one on this machine, and leave nothing of it behind.

    >>> with cluster("nowhere", workers=1):  # doctest: +IGNORE_EXCEPTION_DETAIL
    ...     pass
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: no Dask scheduler answers at nowhere (...)
    """
    if address is not None and not address.strip():
        raise StablemaxError(
            "--scheduler is empty", "give an address, --scheduler tcp://HOST:8786; or leave --scheduler out"
        )
    distributed = _distributed()
    with _no_chatter(), signals_for_later() as listening, contextlib.ExitStack() as stack:
        if address is None:
            address = stack.enter_context(_local_scheduler(distributed, workers))
        else:
            with listening():
                _greet(distributed, address)
        client = _connect(distributed, address)
        stack.callback(client.close, CLOSE_S)
        with listening():
            with _connected():
                try:
                    client.wait_for_workers(1, timeout=WORKERS_S)
                except TimeoutError:
                    raise _no_workers(client) from None
                _check_versions(client)
            yield Cluster(client)


def _distributed() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise limit_reached(error) or StablemaxError(
            "the engine dask needs the package distributed", 'pip install "stablemax[dask]"'
        ) from None
    return distributed


@contextlib.contextmanager
def _local_scheduler(distributed: ModuleType, workers: int) -> Iterator[str]:
    import dask

    # The scheduler is in this process: without them it would accept no worker, and wait for one without an end.
    check_files(SCHEDULER_FILES + WORKER_FILES * workers)
    with (
        new_folder() as folder,
        # Scheduler, supervisors and workers each make a folder, and leave it.
        dask.config.set({"temporary-directory": folder}),
    ):
        with no_interrupts_in_processes(), warnings.catch_warnings(action="ignore"), _starting(workers):
            started = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                # The blocks are cut to fit; the supervisor would count mapped files, and kill.
                memory_limit=0,
                # It has an HTTP server without a dashboard too: not at the port where a user's may be.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=SILENT,
                env={"DASK_LOGGING__DISTRIBUTED": str(SILENT)},
            )
        try:
            yield started.scheduler_address
        finally:
            started.close(timeout=CLOSE_S)


@contextlib.contextmanager
def _starting(workers: int) -> Iterator[None]:
    """Word why the workers of a local cluster cannot be started, and end those that were."""
    import multiprocessing

    before = set(multiprocessing.active_children())
    try:
        yield
    except (OSError, RuntimeError) as error:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
            process.join()
        limit = limit_reached(error) or limit_told("no more threads can be started")
        assert limit is not None
        raise StablemaxError(
            f"the workers of a cluster of {workers} cannot be started ({brief(error, 200)})",
            f"leave out --engine dask; or {limit.hint}",
        ) from None


def _greet(distributed: ModuleType, address: str) -> None:
    """Check that a scheduler listens at an address: for the answer of anything else a client would wait for ever."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def kind() -> str:
        arguments = distributed.Security().get_connection_args("client")
        async with distributed.rpc(address, connection_args=arguments) as server:
            return str((await server.identity())["type"])

    # A thread of its own, because a notebook's has a running loop.
    with ThreadPoolExecutor(1) as pool:
        try:
            server_type = pool.submit(lambda: asyncio.run(asyncio.wait_for(kind(), CONNECT_S))).result()
        except TimeoutError:
            raise _no_scheduler(address, f"no answer within {CONNECT_S:.0f} s") from None
        except Exception as error:
            raise limit_reached(error) or _no_scheduler(address, str(error)) from None
    if server_type != "Scheduler":
        raise _no_scheduler(address, f"it is a {server_type}")


def _connect(distributed: ModuleType, address: str) -> Any:
    try:
        # Warnings of other versions of packages: what matters of them is checked.
        with warnings.catch_warnings(action="ignore"):
            return distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise limit_reached(error) or _no_scheduler(address, str(error)) from None


def _check_versions(client: Any) -> None:
    """Refuse workers of other versions: they compute something else, or end at a message that they cannot load."""
    # An expression, because a function of ours cannot be loaded where stablemax is missing.
    our_versions = f"Python {sys.version_info[0]}.{sys.version_info[1]} and stablemax {__version__}"
    expression = (
        """'Python %d.%d and stablemax ' % __import__('sys').version_info[:2] + __import__('stablemax').__version__"""
    )
    answers = {
        f"the worker {address}": answer for address, answer in client.run(eval, expression, on_error="return").items()
    }
    try:
        answers["the scheduler"] = client.run_on_scheduler(eval, expression)
    except ImportError as error:
        answers["the scheduler"] = error
    for who, answer in answers.items():
        if answer != our_versions:
            raise StablemaxError(
                f"{who} has not {our_versions} ({brief(answer, 200)})",
                "in the environments of the scheduler and of the workers: pip install . in the clone that this is from",
            )


@contextlib.contextmanager
def _no_chatter() -> Iterator[None]:
    """Keep the log of distributed off the standard error; errors that matter arrive as exceptions."""
    handlers = [
        handler
        for name, logger in logging.root.manager.loggerDict.items()
        if name.partition(".")[0] in {"distributed", "tornado"} and isinstance(logger, logging.Logger)
        for handler in logger.handlers
    ]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(SILENT)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Word what a client raises where the scheduler has gone; nothing of a job's own may run within."""
    distributed = _distributed()
    try:
        yield
    except (distributed.CancelledError, OSError) as error:
        raise limit_reached(error) or _lost() from None


def _lost() -> StablemaxError:
    return StablemaxError("the connection to the scheduler was lost", "see its log; start it again: dask scheduler")


def _no_scheduler(address: str, reason: str) -> StablemaxError:
    return StablemaxError(
        f"no Dask scheduler answers at {brief(address, 200)} ({brief(reason, 200)})",
        "start one with `dask scheduler`, and workers with `dask worker tcp://HOST:8786`; give --scheduler tcp://HOST:8786",
    )


def _no_workers(client: Any) -> StablemaxError:
    address = client.scheduler.address
    return StablemaxError(f"the scheduler at {address} has no workers", f"start some: dask worker {address}")


def _not_found(message: str) -> StablemaxError:
    import socket

    return StablemaxError(
        f"{message} on the worker {socket.gethostname()}",
        "every worker must see the file under this path: put it on shared storage, or give an address (s3://...)",
    )
