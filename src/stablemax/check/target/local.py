"""Somebody's code, or one of our variants, in this process: called, differentiated, run exactly and traced."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.target.call_style import as_array, call_styles
from stablemax.check.target.declared import declared
from stablemax.check.target.infer import backend_of, gradient_of, operation_of
from stablemax.check.target.layouts import laid_out
from stablemax.check.target.load import TARGET_HINT, is_code, load, module_and_name
from stablemax.check.target.messages import OURS, LoadedTarget, NoAnswerError, Result, TargetInfo
from stablemax.check.target.process_limits import tells_of_memory
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array, Format, format_of_array
from stablemax.operations.targets import SoftTargets, TargetOptions, in_arithmetic, second_of, targets_of
from stablemax.operations.variant import evaluate
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError, shown
from stablemax.truth.balls import Balls, truth
from stablemax.truth.case import Case

if TYPE_CHECKING:
    from stablemax.check.target.call_style import CallStyle
    from stablemax.check.target.messages import Call, Target, TraceOptions

_PACKAGE = Path(__file__).parents[2]
_COMMON = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64")
FORMATS_OF = {"torch": _COMMON, "jax": ("float4_e2m1fn", "float8_e3m4", "float8_e4m3", *_COMMON)}
"""The number formats in which a library has arrays; NumPy has all: with ml_dtypes, or emulated."""


def load_local(target: Target, function: Callable[..., Any] | None = None) -> LoadedTarget:
    """Load a target into this process: the function itself, where it is at hand, or what the target names."""
    if function is not None:
        return CodeTarget(target, function, *module_and_name(function))
    if not is_code(target.name):
        return VariantTarget(target)
    code = load(target.name)
    return CodeTarget(target, code.function, target.name.rpartition(":")[0], code.expression)


class CodeTarget(LoadedTarget):
    """Somebody's function, whose signature and first calls show how it wants to be called."""

    def __init__(self, target: Target, function: Callable[..., Any], module: str, expression: str) -> None:
        operation = target.operation or operation_of(target.name, function)
        if target.backward:
            operation = gradient_of(operation)
        backend = target.backend or backend_of(function)
        if target.backward and backend == "numpy":
            raise StablemaxError("--backward needs a library with autograd", "--backend torch, or --backend jax")
        self._target = target
        self._function = function
        self._possible_styles = call_styles(function, operation)
        self._proven_style: CallStyle | None = None
        takes = self._possible_styles[0].takes | declared(function, operation)
        self.info = TargetInfo(target.name, operation, backend, takes, (), module, expression)

    def call(self, call: Call) -> Result:
        """Call the function; an exception becomes the result's trouble."""
        if self._proven_style is not None or call.forward:
            return self._called(self._style, call)
        refusal: Result | None = None
        for style in self._possible_styles:
            result = self._called(style, call)
            if result.output is not None and not self._is_matrix_of_losses(result.output):
                reason = _reason(refusal) if style.by_row and refusal is not None else ""
                result = replace(result, style=replace(style, reason=reason))
                # One row cannot tell whether more are taken at once.
                if len(call.logits) > 1:
                    self._proven_style = result.style
                return result
            refusal = refusal or result
        assert refusal is not None
        return refusal

    @property
    def _style(self) -> CallStyle:
        """How the function is called: the likeliest style, as long as no call on several rows proved one."""
        return self._proven_style or self._possible_styles[0]

    def run_exactly(self, call: Call) -> Array | None:
        """Run NumPy code on exact numbers; None where that is not possible."""
        from stablemax.trace import run_in_shadow
        from stablemax.trace.exact_cells import nearest

        if self.info.backend != "numpy" or call.options:
            return None
        others = () if call.second_argument is None else (call.second_argument,)
        try:
            exact = run_in_shadow(self._plain_function(), call.logits, *others).exact
        except StablemaxError:
            return None
        return None if exact is None else nearest(exact)

    def trace(self, call: Call, options: TraceOptions) -> Trace:
        """Trace NumPy or PyTorch code."""
        traced = (
            self._plain_function(),
            call.logits,
            call.second_argument,
            self.info.operation,
            _traceable_format(call),
        )
        words: dict[str, Any] = {"target": self.info.name, "code": self._function, **vars(options)}
        if self.info.backend == "numpy":
            from stablemax.trace import trace_numpy

            return trace_numpy(*traced, **words)
        if self.info.backend == "torch":
            from stablemax.trace.torch.torch_trace import trace_torch

            return trace_torch(*traced, backward=self._target.backward, device=self._target.device or "cpu", **words)
        raise StablemaxError(f"{self.info.backend} code is not traced", "it runs compiled; stablemax check judges it")

    def _plain_function(self) -> Callable[..., Any]:
        """Return the function as ``f(x)`` or ``f(x, second_argument)`` on its own library's arrays."""
        function, style = self._function, self._style
        return lambda x, second_argument=None: style(function, x, second_argument)

    def _is_matrix_of_losses(self, output: Array) -> bool:
        """True where a loss was written for one row: x[labels] of several rows is a matrix."""
        operation = self.info.operation
        return operation.reduces and operation.per_row and output.ndim == 2 and output.shape[1] > 1

    def _called(self, style: CallStyle, call: Call) -> Result:
        library, device = _arrays_of(self.info.backend), self._target.device
        passed = {name: value for name, value in call.options.items() if name in style.options}
        second_argument = call.second_argument
        if "label_smoothing" in call.options and "label_smoothing" not in passed:
            second_argument = _smoothed(call)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(), library.running():
                warnings.simplefilter("ignore")
                x = laid_out(library.put(call.logits, device), self.info.backend, call.layout)
                second = None if second_argument is None else library.put(second_argument, device)
                options = {k: library.put(v, device) if isinstance(v, np.ndarray) else v for k, v in passed.items()}
                if self._target.backward and not call.forward:
                    value = self._gradient(library, style, x, second, options)
                else:
                    value = style(self._function, x, second, **options)
                # A copy: code that gives out its own buffer overwrites it at the next call.
                output = np.array(as_array(value), subok=True)
                changed = not _same(library.back(x), call.logits) or (
                    second_argument is not None and not _same(library.back(second), second_argument)
                )
        except (StablemaxError, KeyboardInterrupt):
            raise
        except NoAnswerError as error:
            return Result(None, str(error), style=style)
        except BaseException as error:  # anybody's code may raise anything, SystemExit too
            trouble = _trouble(error, _file_of(self._function))
            return Result(None, trouble, lacks_memory=_tells_of_memory(error), style=style)
        return Result(output, changed_input=changed, style=style)

    def _gradient(self, library: Any, style: CallStyle, x: Any, second: Any, options: dict[str, Any]) -> Any:
        """Let autograd differentiate the function: a loss against its logits, or with an upstream gradient."""
        targets, upstream = (None, second) if self.info.operation.needs_upstream else (second, None)
        return library.gradient(lambda a: style(self._function, a, targets, **options), x, upstream)


class VariantTarget(LoadedTarget):
    """A variant or a built-in, which takes NumPy arrays of each format that it supports."""

    def __init__(self, target: Target) -> None:
        from stablemax.libraries import find

        if "/" not in target.name:
            raise StablemaxError(f"{shown(target.name)!r} is no target", TARGET_HINT)
        self._variant = variant = find(target.name)
        if target.operation not in (None, variant.operation):
            raise StablemaxError(
                f"{variant.id} does not compute {target.operation}", f"it computes {variant.operation}"
            )
        if target.backward:
            raise StablemaxError(f"--backward: autograd does not differentiate {variant.id}", "leave it out")
        self.info = TargetInfo(
            variant.id,
            variant.operation,
            variant.library or "numpy",
            frozenset(variant.takes) if variant.library else frozenset({"soft-targets", "weights"}),
            tuple(variant.supports or ()),
            OURS,
            f'implementation("{variant.id}")',
        )

    def call(self, call: Call) -> Result:
        """Run the variant; an input that it refuses becomes the result's trouble."""
        xp = Arithmetic(format_of_array(call.logits))
        if self._variant.library and xp.format.is_emulated:
            return Result(None, f"takes no {xp.format.name}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Result(evaluate(self._variant, call.logits, xp, self._second_argument(call, xp)))
        except StablemaxError as error:
            return Result(None, error.message)

    def run_exactly(self, call: Call) -> Array | None:
        """Run a variant in balls, which know no infinities; None for a built-in, or where balls do not shrink."""
        variant = self._variant
        if variant.library or not np.isfinite(call.logits.astype(np.float64)).all():
            return None
        second_argument = self._second_argument(call, Arithmetic(format_of_array(call.logits)))

        def compute(xp: Balls) -> Array:
            logits = xp.array(call.logits.astype(np.float64))
            return evaluate(variant, logits, xp, in_arithmetic(second_argument, xp))

        try:
            return truth(compute, FLOAT64).nearest
        except ArithmeticError:
            return None

    def trace(self, call: Call, options: TraceOptions) -> Trace:
        """Trace a variant, operation by operation."""
        if self._variant.library:
            raise StablemaxError(
                f"{self._variant.id} is one call into {self._variant.library}: it has no lines", "stablemax check"
            )
        from stablemax.trace import trace_variant

        return trace_variant(self._variant, call.logits, call.second_argument, _traceable_format(call), **vars(options))

    def _second_argument(self, call: Call, xp: Arithmetic) -> Any:
        """Return the variant's second argument, as its operation takes it."""
        operation, (rows, classes) = self._variant.operation, call.logits.shape
        if not operation.needs_targets:
            divisor = float(operation.loss_count(rows, classes)) if operation.of_losses else 1.0
            return second_of(operation, call.second_argument, xp, divisor)
        assert call.second_argument is not None
        options = TargetOptions(call.options.get("weight"), call.options.get("label_smoothing", 0.0))
        case = Case(operation, np.arange(rows), call.logits, labels=call.second_argument, targets=options)
        return (replace(case, divisor=case.mean_divisor) if operation.of_losses else case).second(xp)


def _traceable_format(call: Call) -> Format:
    """Return the format of a call's arrays; refuse one that is emulated."""
    fmt = format_of_array(call.logits)
    if fmt.is_emulated:
        raise StablemaxError(
            f"code is not traced in {fmt.name}: NumPy and PyTorch lack that format, which stablemax emulates",
            "--format float16, bfloat16, float32 or float64",
        )
    return fmt


def _tells_of_memory(error: BaseException) -> bool:
    """True where NumPy, PyTorch or JAX did not get the memory that the code asked for."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and tells_of_memory(_message(error)))


def _reason(refusal: Result) -> str:
    return refusal.trouble if refusal.output is None else f"returned shape {refusal.output.shape}"


def _smoothed(call: Call) -> Array:
    """Turn labels into smoothed soft targets, for a loss that takes those and smooths nothing itself."""
    assert call.second_argument is not None
    xp = Arithmetic(format_of_array(call.logits))
    options = TargetOptions(None, call.options["label_smoothing"])
    targets = targets_of(call.second_argument, call.logits.shape[-1], options, xp)
    assert isinstance(targets, SoftTargets)
    return targets.weights


def _file_of(function: Any) -> str:
    target = getattr(function, "forward", None) or function
    code = getattr(target, "__code__", None) or getattr(getattr(target, "__func__", None), "__code__", None)
    return code.co_filename if code is not None else ""


def _same(after: Array, before: Array) -> bool:
    return after.shape == before.shape and after.tobytes() == before.tobytes()


def _trouble(error: BaseException, file: str) -> str:
    """Put an exception into words, with the last line of the target's file that it passed."""
    message = _message(error)
    if isinstance(error, TypeError) and message.startswith("returned "):
        return message
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _PACKAGE not in Path(f.filename).parents]
    frames = [f for f in frames if f.filename == file] or frames
    position = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = shown(message.strip().partition("\n")[0], 160)
    return f"raised {type(error).__name__}{f': {text}' if text else ''}{position}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""  # the exception has no words


class NumpyArrays:
    """How arrays get into NumPy code and out of it."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def put(self, array: Array, device: str | None) -> Array:
        """Copy, so that a function that writes into its arguments does no harm."""
        if device is not None:
            raise StablemaxError("--device is for torch and jax, and the target works on NumPy arrays", "leave it out")
        return np.array(array, subok=True)

    def back(self, array: Any) -> Array:
        """Return an array as it is."""
        return np.asarray(array)


def _arrays_of(backend: str) -> Any:
    """Return `put`, `back`, `running` and `gradient` of ``numpy``, ``torch`` or ``jax``, imported only here."""
    if backend == "torch":
        from stablemax.libraries.torch_arrays import TorchArrays

        return TorchArrays()
    if backend == "jax":
        from stablemax.libraries.jax_arrays import JaxArrays

        return JaxArrays()
    return NumpyArrays()
