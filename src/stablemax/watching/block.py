"""The watch of a block of Python: ``with stablemax.watch():``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from stablemax.results.watched import Watched, WatchedStep, WatchVerdict
from stablemax.text.errors import StablemaxError
from stablemax.watching.watch_options import REPRO, USUAL, WatchOptions, kinds_named

if TYPE_CHECKING:
    from stablemax.watching.torch.watcher import Watcher


def watch(
    *,
    on: str | Iterable[str] = USUAL,
    every: int = 1,
    from_step: int = 1,
    repro: str | None = REPRO,
    quiet: bool = False,
) -> WatchedBlock:
    """Watch the PyTorch operations of a block, and say where the first inf or NaN comes from.

    The forward and the backward pass are watched, and optimizers, in threads that the block starts, too, but not in
    processes that it forks. What is found is printed on standard error at once, and the block goes on, unwatched;
    `result` has it afterwards.

    Parameters
    ----------
    on : str or iterable of str
        What is looked for: "overflow", "nan", "lost", the last being numbers that became 0.
    every, from_step : int
        Watch one step of so many, and from this step on, counted from 1 by the steps of optimizers.
    repro : str, optional
        The folder for files that show what was found; None for none.
    quiet : bool
        Print nothing.

    Returns
    -------
    WatchedBlock
        To be used in a ``with`` statement.

    Raises
    ------
    StablemaxError
        Where PyTorch is not installed, an argument is none of those, or the folder holds other files.

    Examples
    --------
    >>> import torch
    >>> with watch(repro=None, quiet=True) as watched:
    ...     loss = torch.log(torch.softmax(torch.tensor([0.0, 200.0]), 0)).sum()
    >>> watched.result.verdict.value, watched.result.cause.operation
    ('operation', 'aten._softmax')
    """
    options = WatchOptions(kinds_named(on), every, from_step, repro or "")
    return WatchedBlock(options, quiet=quiet)


class WatchedBlock:
    """A block of code that is watched; its `result` is there when the block has ended."""

    def __init__(self, options: WatchOptions, *, quiet: bool) -> None:
        self._options = options
        self._is_quiet = quiet
        self._stack = contextlib.ExitStack()
        self._watcher: Watcher | None = None

    def __enter__(self) -> WatchedBlock:
        if self._options.repro:
            from stablemax.watching.repro_place import check_folder

            check_folder(self._options.repro)
        try:
            from stablemax.watching.torch.watcher import Watcher
        except ModuleNotFoundError as error:
            raise StablemaxError(
                f"{error.name} is not installed, and PyTorch is what is watched", "pip install torch"
            ) from None
        self._watcher = Watcher(self._options, None if self._is_quiet else _tell)
        self._stack.enter_context(self._watcher.watching())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if self.result.error and not self._is_quiet:
            _tell(self.result)

    @property
    def result(self) -> Watched:
        """What was found until now."""
        if self._watcher is None:
            raise StablemaxError("the block has not begun", "with stablemax.watch() as watched: ...")
        return self._watcher.result


def report(result: Watched) -> str:
    """Write what was found in a few lines.

    >>> print(report(Watched("Nothing found.", None)), end="")
    Nothing found.
    """
    lines = [result.finding]
    fault, cause = result.fault, result.cause
    if fault is not None:
        where = f"{fault.file}:{fault.line}" if fault.file else "no line of Python"
        lines.append(f"  {fault.operation}, {fault.phase} pass, at {where}: {fault.text}")
        for t in (*fault.inputs, fault.output):
            span = "overwritten" if t.is_overwritten else f"{_number(t.smallest)} to {_number(t.largest)}"
            shape = "x".join(map(str, t.shape)) or "scalar"
            lines.append(f"  {t.name}: {t.dtype} {shape}, {span}, {t.inf:,} inf, {t.nan:,} NaN, {t.zeros:,} zeros")
    if cause is not None and not cause.is_fault_itself:
        lines.append(f"  cause, {cause.file}:{cause.line}: {cause.text}")
    if result.verdict is WatchVerdict.DIVERGENCE:
        lines += map(_step_words, result.history)
    if result.repro:
        lines.append(f"  files that show it: {result.repro}")
    return "".join(f"{line}\n" for line in lines)


def _step_words(step: WatchedStep) -> str:
    figures = (("loss", step.loss), ("largest |weight|", step.largest_weight), ("gradient", step.gradient_norm))
    return f"  step {step.step}: {', '.join(f'{name} {value:.4g}' for name, value in figures if value is not None)}"


def _number(value: float | None) -> str:
    return "none finite" if value is None else f"{value:.6g}"


def _tell(result: Watched) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"stablemax: {report(result)}")
