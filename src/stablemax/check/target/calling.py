"""One call of somebody's function: the arrays go in as its library has them, and its output comes back as NumPy's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.target.call_style import CallStyle, as_array
from stablemax.check.target.globals_read import bound
from stablemax.check.target.layouts import laid_out
from stablemax.check.target.library_arrays import arrays_of
from stablemax.check.target.messages import NoAnswerError, Result
from stablemax.check.target.random_state import RandomNumbers
from stablemax.check.target.returned import NoSuchItemError, SeveralItemsError
from stablemax.check.target.trouble import file_of, needs_memory, trouble_of
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array, format_of_array
from stablemax.operations import get_operation
from stablemax.operations.operation import Operation
from stablemax.operations.targets import SoftTargets, TargetOptions, kept_rows, targets_of
from stablemax.operations.variant import evaluate, get
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import listed
from stablemax.trace.arrangement import Arrangement, InBatch, Shifted

if TYPE_CHECKING:
    from stablemax.check.target.messages import Call, Target


@dataclass
class Caller:
    """A function, the library whose arrays it works on, and what it is passed at every call."""

    function: Callable[..., Any]
    target: Target
    operation: Operation
    backend: str
    #: It drew random numbers.
    is_random: bool = field(default=False, init=False)

    def call(self, style: CallStyle, call: Call, *, watch: bool = False) -> Result:
        """Call the function; an exception becomes the result's trouble. With `watch`, find out whether it is random."""
        library, device = arrays_of(self.backend), self.target.device
        arrangement = self.arrangement(style, call)
        logits, second = first_rows(style, call), second_rows(style, call)
        if arrangement is not None:
            logits, second = arrangement.given(logits), None if second is None else arrangement.given(second)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(), library.running():
                warnings.simplefilter("ignore")
                numbers = RandomNumbers()
                numbers.seed(self.target.seed)
                x = library.put(logits, device)
                x = laid_out(x, self.backend, call.layout) if arrangement is None else x
                y = None if second is None else library.put(second, device)
                with bound(self.function, call.bound, x):
                    value = self._value(library, style, call, x, y)
                # A copy: code that gives out its own buffer overwrites it at the next call.
                output = np.array(as_array(value), subok=True)
                changed = not _same(library.back(x), logits) or (
                    second is not None and not _same(library.back(y), second)
                )
                if watch:
                    self.is_random = self.is_random or numbers.are_drawn_since(self.target.seed)
        except (StablemaxError, KeyboardInterrupt):
            raise
        except NoSuchItemError as error:
            hint = f"--pick {' or --pick '.join(error.names)}" if error.names else "leave --pick out"
            raise StablemaxError(f"{shown(self.target.name)} {error}", hint) from None
        except SeveralItemsError as error:
            return Result(None, str(error), items=error.items, style=style)
        except NoAnswerError as error:
            return Result(None, str(error), style=style)
        except BaseException as error:  # anybody's code may raise anything, SystemExit too
            trouble = trouble_of(error, file_of(self.function))
            return Result(None, trouble, lacks_memory=needs_memory(error), style=style)
        return Result(output if arrangement is None else arrangement.rows(output), changed_input=changed, style=style)

    def arrangement(self, style: CallStyle, call: Call) -> Arrangement | None:
        """Return how the rows of a call lie in the array that the function gets; None for (N, K)."""
        if call.arrangement is not None:
            return call.arrangement
        return Shifted() if self.target.shift else InBatch(style.axes) if style.axes else None

    def options(self, style: CallStyle, call: Call) -> dict[str, Any]:
        """Return what is passed beside the arrays, as NumPy has it."""
        passed = {name: value for name, value in call.options.items() if name in style.options}
        arrangement = self.arrangement(style, call)
        axis = {} if arrangement is None else {"class_axis": arrangement.class_axis}
        return {**passed, **{argument.name: argument.value for argument in self.target.further}, **axis}

    def library_options(self, style: CallStyle, call: Call) -> dict[str, Any]:
        """Return the same with arrays of the function's library."""
        library, device = arrays_of(self.backend), self.target.device
        options = self.options(style, call)
        return {k: library.put(v, device) if isinstance(v, np.ndarray) else v for k, v in options.items()}

    def _value(self, library: Any, style: CallStyle, call: Call, x: Any, second: Any) -> Any:
        """Call the function, or let autograd differentiate it: a loss, or with an upstream gradient."""
        options = self.library_options(style, call)
        if not self.target.backward or call.forward:
            return style(self.function, x, second, **options)
        targets, upstream = (None, second) if self.operation.needs_upstream else (second, None)
        return library.gradient(lambda a: style(self.function, a, targets, **options), x, upstream)


def first_rows(style: CallStyle, call: Call) -> Array:
    """Return the logits, or their softmax, rounded once, where a style passes that."""
    if not style.of_output:
        return call.logits
    fmt = format_of_array(call.logits)
    with np.errstate(all="ignore"):
        p = evaluate(get(get_operation("softmax").best_id), call.logits.astype(np.float64), Arithmetic(FLOAT64))
    return fmt.cast(p)


def second_rows(style: CallStyle, call: Call) -> Array | None:
    """Return the second argument as a style passes it: class numbers may have to become targets of every class."""
    second, logits = call.second_argument, call.logits
    if second is None or second.ndim == logits.ndim:
        return second
    smoothing = 0.0 if "label_smoothing" in style.options else call.options.get("label_smoothing", 0.0)
    # A loss that smooths nothing itself gets targets that are smoothed.
    if not (style.rows_of_targets or smoothing):
        return second
    axis = -1 if logits.shape[:-1] == second.shape else 1
    targets = _rows_of_targets(call, logits.shape[axis], smoothing).reshape(*second.shape, logits.shape[axis])
    return np.ascontiguousarray(np.moveaxis(targets, -1, axis))


def _rows_of_targets(call: Call, classes: int, smoothing: float) -> Array:
    """Turn class numbers into rows of targets, which are 0 for an ignored row."""
    xp = Arithmetic(format_of_array(call.logits))
    labels = np.ravel(np.asarray(call.second_argument))
    kept = kept_rows(labels, call.options.get("ignore_index", IGNORED))
    hot = np.zeros((len(labels), classes))
    hot[kept, labels[kept]] = 1.0
    targets = targets_of(hot, classes, TargetOptions(None, smoothing), xp)
    assert isinstance(targets, SoftTargets)
    return np.where(kept[:, None], targets.weights, xp.number(0.0)) if not kept.all() else targets.weights


def _same(after: Array, before: Array) -> bool:
    return after.shape == before.shape and after.tobytes() == before.tobytes()


def items_in_words(items: dict[int | str, tuple[int, ...]]) -> str:
    """Name the items of what was returned, with their shapes."""
    return listed([f"{name} {shape}" for name, shape in items.items()])
