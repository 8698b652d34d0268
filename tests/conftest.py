"""Hypothesis profiles: the same examples on every machine, and no clock."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from stablemax.hazards import shapes
from stablemax.truth import case

from .in_this_process import no_process
from .known_truths import KnownTruths

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=15, print_blob=True)
# For a deliberate hunt: --hypothesis-profile=search
settings.register_profile("search", deadline=None, max_examples=3000)
settings.load_profile("ci")


# The example of a plugin is imported where it is installed, and one module of it cannot be; the kernels are checked.
collect_ignore = ["plugin", "seeded"]
# Nor have these a test or a doctest, and they import PyTorch.
collect_ignore += ["benchmarks/watching.py", "watching/programs_run.py"]
# So is the code of the public cases, some of which imports PyTorch; programs that are watched train when imported.
collect_ignore_glob = ["cases/[!t]*.py", "watching/programs/*.py", "watching/sound/*.py"]

# Files that are about all shapes, or show what is printed of them: to try them all takes a second a check.
OF_ALL_SHAPES = {
    "test_readme.py",
    "test_samples.py",
    "test_seeded_kernels.py",
    "test_seeded_torch_kernels.py",
    "test_shapes.py",
}
# Files in whose checks and traces the process is not what is tested, but for those marked `own_process`: to start one
# takes a second.
OF_NO_PROCESS = {
    "test_call.py",
    "test_cells_and_distributions.py",
    "test_mistakes.py",
    "test_number_formats.py",
    "test_remedies.py",
    "test_remedy.py",
    "test_source.py",
    "test_twelve_failures.py",
    *(f"cli/test_{name}.py" for name in ("check", "trace", "trace_of_jax_code")),
    *(f"cli/test_{name}_of_any_function.py" for name in ("check", "trace")),
}
OF_PROOFS = {"truth", "operations", "hazards"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take long first: one that began last would keep one process busy alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope="module")
def few_shapes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a check that runs in the test's own process, or in a fixture of a module, try the smallest shapes alone."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.name not in OF_ALL_SHAPES:
            patch.setattr(shapes, "SHAPES", shapes.SHAPES[:8])
        yield


@pytest.fixture(autouse=True)
def targets_in_this_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Load code in the test's own process."""
    names = {request.path.name, "/".join(request.path.parts[-2:])}
    in_own_process = OF_NO_PROCESS.isdisjoint(names) or request.node.get_closest_marker("own_process")
    with contextlib.nullcontext() if in_own_process else no_process():
        yield


@pytest.fixture(scope="session")
def known_truths() -> KnownTruths:
    """Keep what was proved for the tests of all files that one process runs."""
    return KnownTruths()


@pytest.fixture(autouse=True, scope="module")
def truths_proved_once(request: pytest.FixtureRequest, known_truths: KnownTruths) -> Iterator[None]:
    """Prove each truth once, but where the proofs themselves are tested."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name not in OF_PROOFS:
            patch.setattr(case, "exact_result", known_truths.exact_result)
        yield


def pytest_configure() -> None:
    """Give programs under test a clean start: they can be stopped, whatever started this run.

    In the background of a shell SIGINT is ignored, under nohup SIGHUP: every child inherits that, and Python then
    installs no handler of its own. A handler, be it one that does nothing, is not inherited. (Popen's preexec_fn
    would do it for one child, but it runs what JAX does at a fork, which warns.)
    """
    # PyTorch's threads wait in a loop for the next operation, on the processors that the other half of the run needs:
    # an operation on ten numbers takes 3 ms instead of 0.1. Asleep, the same threads give the same bits.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # As the program itself does: to look for garbage at every 700th object takes a tenth of the run.
    gc.set_threshold(100_000)
    # What this run was asked for is not meant for the runs that tests start.
    os.environ.pop("PYTEST_ADDOPTS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_finish() -> None:
    """Leave what was collected out of garbage collections: it lives to the end, and each would look through it all."""
    gc.collect()
    gc.freeze()
