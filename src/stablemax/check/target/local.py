"""Runs somebody's function and tells what happened, whatever that is."""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.check.target.array_exchange import arrays_of
from stablemax.check.target.call_style import Convention, as_array, conventions
from stablemax.check.target.infer import backend_of, differentiated, operation_in
from stablemax.check.target.load import TARGET_FORMS, is_code, load
from stablemax.check.target.messages import Answer, Described
from stablemax.errors import StablemaxError, shown
from stablemax.exact import Balls, truth
from stablemax.formats import FLOAT64, FORMATS
from stablemax.registry import evaluate
from stablemax.target_options import TargetOptions, targets_of
from stablemax.targets import SoftTargets
from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.check.target.messages import Order, Question
    from stablemax.formats import Array
    from stablemax.registry import Variant
    from stablemax.results import Trace

_PACKAGE = Path(__file__).parents[2]


class Host:
    """A loaded function, ready to be called.

    Parameters
    ----------
    order : Order
        What to load.
    function : callable, optional
        The function itself, where it is at hand.

    Raises
    ------
    StablemaxError
        If it cannot be loaded, or its operation is not known.
    """

    def __init__(self, order: Order, function: Callable[..., Any] | None = None) -> None:
        self._order = order
        self._convention: Convention | None = None
        self._why_by_row = ""
        self._variant: Variant | None = None
        self._function, self._expression, self._place = function, "", ""
        if function is not None:
            self._place, self._expression = _home_of(function)
        elif is_code(order.target):
            self._function, self._expression = load(order.target)
            self._place = order.target.rpartition(":")[0]
        else:
            self._variant = _built_in(order.target)
            self._place, self._expression = "stablemax.testing", f'implementation("{self._variant.id}")'
        self.described = self._describe()

    def _describe(self) -> Described:
        order = self._order
        if self._variant is not None:
            v = self._variant
            if order.operation not in (None, v.operation):
                raise StablemaxError(f"{v.id} does not compute {order.operation}", f"it computes {v.operation}")
            backend = v.library or "numpy"
            takes = frozenset(v.takes) if v.library else frozenset({"soft-targets", "weights"})
            formats = tuple(v.supports or ())
            return Described(v.id, v.operation, backend, takes, formats, self._place, self._expression)
        assert self._function is not None
        operation = order.operation or _operation_of(order.target, self._function)
        if order.backward:
            gradient = differentiated(operation)
            if gradient is None and operation not in (Operation.SOFTMAX_VJP, Operation.CROSS_ENTROPY_GRAD):
                raise StablemaxError(f"--backward: the gradient of {operation} is not judged", "leave it out")
            operation = gradient or operation
        backend = order.backend or backend_of(self._function)
        if order.backward and backend == "numpy":
            raise StablemaxError("--backward needs a library with autograd", "--backend torch, or --backend jax")
        takes = conventions(self._function, operation)[0].takes
        return Described(order.target, operation, backend, takes, (), self._place, self._expression)

    def call(self, question: Question) -> Answer:
        """Call the function; an exception becomes the answer's trouble."""
        if self._variant is not None:
            return self._call_variant(self._variant, question)
        assert self._function is not None
        if self._convention is not None:
            return self._call(self._function, self._convention, question)
        ways = conventions(self._function, self.described.operation)
        first: Answer | None = None
        for way in ways:
            answer = self._call(self._function, way, question)
            if answer.output is not None and not self._is_for_one_row(answer.output):
                # One row cannot tell whether more are taken at once.
                if len(question.x) > 1:
                    self._convention = way
                    self._why_by_row = _refusal(first) if way.by_row and first is not None else ""
                return answer
            first = first or answer
        assert first is not None
        return first

    def way(self) -> tuple[Convention, str]:
        """Return how the function is called, and why one row at a time where it is."""
        if self._variant is not None:
            return Convention(), ""
        assert self._function is not None
        return self._convention or conventions(self._function, self.described.operation)[0], self._why_by_row

    def _is_for_one_row(self, output: Array) -> bool:
        """Tell a loss written for one row: x[labels] of several rows is a matrix."""
        return self.described.operation is Operation.CROSS_ENTROPY and output.ndim == 2 and output.shape[1] > 1

    def many(self, questions: list[Question]) -> list[Answer]:
        """Call the function once for each question."""
        return [self.call(q) for q in questions]

    def forward(self, question: Question) -> Answer:
        """Call the function itself, where its gradient is what is judged."""
        assert self._function is not None
        way = self._convention or conventions(self._function, self.described.operation)[0]
        return self._call(self._function, way, question, backward=False)

    def exactly(self, question: Question) -> Array | None:
        """Run NumPy code, or a variant, on exact numbers: its result in float64; None where that is not possible."""
        if self._variant is not None:
            return _exact_variant(self._variant, question)
        from stablemax.shadow.cells import nearest
        from stablemax.trace import run_in_shadow

        if self.described.backend != "numpy" or question.options:
            return None
        others = () if question.second is None else (question.second,)
        try:
            exact = run_in_shadow(self.plain(), question.x, *others).exact
        except StablemaxError:
            return None
        return None if exact is None else nearest(exact)

    def traced(self, question: Question, **told: Any) -> Trace:
        """Trace the function on an input.

        Parameters
        ----------
        question : Question
            Arrays in the number format.
        **told
            ``source``, ``max_ulp``, ``command`` and ``notes`` for the result.

        Raises
        ------
        StablemaxError
            If its library's code cannot be traced, or it raises.
        """
        fmt = FORMATS[question.x.dtype.name]
        described, variant = self.described, self._variant
        if variant is not None and not variant.library:
            from stablemax.trace import trace_variant

            return trace_variant(variant, question.x, question.second, fmt, **told)
        if described.backend == "numpy":
            from stablemax.trace import trace_numpy

            return trace_numpy(
                self.plain(), question.x, question.second, described.operation, fmt,
                target=described.name, code=self._function, **told,
            )  # fmt: skip
        if described.backend == "torch" and variant is None:
            from stablemax.peers.torch_trace import trace_torch

            return trace_torch(
                self.plain(), question.x, question.second, described.operation, fmt,
                target=described.name, code=self._function, backward=self._order.backward,
                device=self._order.device or "cpu", **told,
            )  # fmt: skip
        if variant is not None:
            raise StablemaxError(f"{variant.id} is one call into {variant.library}: it has no lines", "stablemax check")
        raise StablemaxError(f"{described.backend} code is not traced", "it runs compiled; stablemax check judges it")

    def plain(self) -> Callable[..., Any]:
        """Return the function as ``f(x)`` or ``f(x, second)`` on its own library's arrays."""
        if self._variant is not None:
            raise StablemaxError(f"{self._variant.id} is no code of yours", "it is traced as a variant")
        assert self._function is not None
        function, way = self._function, self._convention or conventions(self._function, self.described.operation)[0]
        return lambda x, second=None: way(function, x, second)

    @property
    def variant(self) -> Variant | None:
        """The variant or peer, where the target is one."""
        return self._variant

    def _call(
        self, function: Callable[..., Any], way: Convention, question: Question, *, backward: bool | None = None
    ) -> Answer:
        arrays, device = arrays_of(self.described.backend), self._order.device
        known = {k: v for k, v in question.options.items() if k in way.options}
        given = question.second
        if "label_smoothing" in question.options and "label_smoothing" not in known:
            given = _smoothed(question)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(), arrays.running():
                warnings.simplefilter("ignore")
                x, second = arrays.put(question.x, device), None if given is None else arrays.put(given, device)
                options = {k: arrays.put(v, device) if isinstance(v, np.ndarray) else v for k, v in known.items()}
                if self._order.backward if backward is None else backward:
                    result = self._gradient(arrays, way, x, second, options)
                else:
                    result = way(function, x, second, **options)
                # A copy: code that gives out its own buffer overwrites it at the next call.
                output = np.array(as_array(result))
                changed = not _same(arrays.back(x), question.x) or (
                    given is not None and not _same(arrays.back(second), given)
                )
        except StablemaxError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # anybody's code may raise anything, SystemExit too
            return Answer(None, _trouble(error, _file_of(function)))
        return Answer(output, "", changed)

    def _gradient(self, arrays: Any, way: Convention, x: Any, second: Any, options: dict[str, Any]) -> Any:
        """Let autograd differentiate the function: a loss against its logits, or with an upstream gradient."""
        function = self._function
        assert function is not None
        of_loss = self.described.operation.needs_targets
        return arrays.gradient(
            lambda a: way(function, a, second if of_loss else None, **options), x, None if of_loss else second
        )

    def _call_variant(self, variant: Variant, question: Question) -> Answer:
        xp = Arithmetic(FORMATS[question.x.dtype.name])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Answer(evaluate(variant, question.x, xp, _second_of(variant, question, xp)))
        except StablemaxError as error:
            return Answer(None, error.message)


def _built_in(target: str) -> Variant:
    from stablemax.peers import find

    if "/" not in target:
        raise StablemaxError(f"{shown(target)!r} is no target", f"TARGET is {TARGET_FORMS}")
    return find(target)


def _second_of(variant: Variant, question: Question, xp: Arithmetic) -> Any:
    """Return a variant's second argument: targets, an upstream gradient, or nothing."""
    if not variant.operation.needs_targets:
        return question.second
    assert question.second is not None
    chosen = TargetOptions(question.options.get("weight"), question.options.get("label_smoothing", 0.0))
    divisor = float(len(question.x)) if variant.operation is Operation.CROSS_ENTROPY_GRAD else 1.0
    return targets_of(question.second, question.x.shape[-1], chosen, xp, divisor)


def _exact_variant(variant: Variant, question: Question) -> Array | None:
    """Run one of our variants in balls, which know no infinities; None for a built-in, or where balls do not shrink."""
    if variant.library or not np.isfinite(question.x.astype(np.float64)).all():
        return None
    second = _second_of(variant, question, Arithmetic(FORMATS[question.x.dtype.name]))

    def compute(xp: Balls) -> Array:
        exact = second.to(xp) if variant.operation.needs_targets else None if second is None else xp.array(second)
        return evaluate(variant, xp.array(question.x.astype(np.float64)), xp, exact)

    try:
        return truth(compute, FLOAT64).nearest
    except ArithmeticError:
        return None


def _home_of(function: Any) -> tuple[str, str]:
    """Return what a function that is at hand can be imported from, and its name there; no place for a local one."""
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", None) or ""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is function and module != "__main__":
        return module, name
    own = name.rpartition(".")[2]
    return "", own if own.isidentifier() else "function"


def _refusal(answer: Answer) -> str:
    return answer.trouble if answer.output is None else f"returned shape {answer.output.shape}"


def _smoothed(question: Question) -> Array:
    """Turn labels into smoothed soft targets, for a loss that takes those and smooths nothing itself."""
    assert question.second is not None
    xp = Arithmetic(FORMATS[question.x.dtype.name])
    chosen = TargetOptions(None, question.options["label_smoothing"])
    targets = targets_of(question.second, question.x.shape[-1], chosen, xp)
    assert isinstance(targets, SoftTargets)
    return targets.weights


def _operation_of(target: str, function: Callable[..., Any]) -> Operation:
    place, _, name = target.rpartition(":")
    found = operation_in(name) or operation_in(Path(place).stem) or operation_in(getattr(function, "__name__", ""))
    if found is None:
        raise StablemaxError(
            f"{shown(target)}: its name does not say what it computes", f"--operation {' or '.join(Operation)}"
        )
    return found


def _file_of(function: Any) -> str:
    target = getattr(function, "forward", None) or function
    code = getattr(target, "__code__", None) or getattr(getattr(target, "__func__", None), "__code__", None)
    return code.co_filename if code is not None else ""


def _same(after: Array, before: Array) -> bool:
    return after.shape == before.shape and after.tobytes() == before.tobytes()


def _trouble(error: BaseException, file: str) -> str:
    """Put an exception into words, with the last line of the target's file that it passed."""
    try:
        message = str(error)
    except Exception:
        message = ""  # an exception that cannot even say what it is
    if isinstance(error, TypeError) and message.startswith("returned "):
        return message
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _PACKAGE not in Path(f.filename).parents]
    frames = [f for f in frames if f.filename == file] or frames
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = shown(message.strip().partition("\n")[0], 160)
    return f"raised {type(error).__name__}{f': {text}' if text else ''}{where}"
