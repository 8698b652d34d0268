"""The parameters of a function, and which of them are the logits and the second argument, told by their names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from stablemax.operations.operation import Operation, Second
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.suggest import suggest
from stablemax.text.words import listed

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
# What a name says, from -3 (the logits, without a doubt) to 3 (what an operation takes beside them).
_TARGET_SCORES = {
    r"^(n|num|nb)_": 0,
    r"logit|score|(^|_)pred|y_?pred|y_?hat|(^|_)(out|outputs?|energ\w*|activations?)$": -3,
    r"^(x|xs|z|inp|inputs?|p|probs?|probabilit\w*|data|features?)$": -2,
    r"label|target|true|truth|one_?hot": 3,
    r"(^|_)(gt|tgt|gold|answers?|class\w*|expected|correct|ids?|idx|index|indices)$": 3,
    r"^(t|ts)$": 2,
    r"^(y|ys)$": 1,
}
_LOGITS, _OUTPUT = -3, -2
_UPSTREAM_SCORES = {
    r"grad|up_?stream|cotangent|delta|d_?(out|l|loss|y|z|s|p|a)$|^(g|gs|gy|g_out|ct|v|err\w*)$": 3,
    r"logit|score|^(x|xs|z|inp|inputs?)$": _LOGITS,
    r"^(y|ys|s|sm|p|a|q|cache)$|out|prob|softmax": _OUTPUT,
}
_SCORES: Mapping[Second, Mapping[str, int]] = MappingProxyType(
    {
        Second.NONE: _TARGET_SCORES,
        Second.LABELS: _TARGET_SCORES,
        Second.CELL_TARGETS: _TARGET_SCORES,
        Second.UPSTREAM: _UPSTREAM_SCORES,
        # Which of two arrays of logits comes first, names seldom say.
        Second.LOGITS: {},
    }
)


class Parameter(NamedTuple):
    """A parameter of a function."""

    name: str
    #: Where it stands among those that can be passed by position; None where it cannot be.
    position: int | None
    is_required: bool


@dataclass(frozen=True)
class Roles:
    """Which parameters get the logits and the second argument."""

    logits: Parameter
    #: None where the operation has no second argument.
    second: Parameter | None
    #: Names do not say which is which.
    is_guess: bool

    @property
    def swapped(self) -> Roles:
        """The other way round."""
        assert self.second is not None
        return Roles(self.second, self.logits, self.is_guess)


def parameters_of(function: Callable[..., Any]) -> list[Parameter] | None:
    """List the parameters of a function; None where Python cannot show them, or where it takes any arguments.

    >>> [p.name for p in parameters_of(lambda x, axis=0: x)], parameters_of(lambda *arrays: arrays)
    (['x', 'axis'], None)
    """
    try:
        signature = inspect.signature(_described(function))
    except (ValueError, TypeError):
        return None
    parameters = list(signature.parameters.values())
    if is_autograd_apply(function) and parameters and parameters[0].name in ("ctx", "context", "self"):
        parameters = parameters[1:]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return None
    named = [p for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return [
        Parameter(p.name, i if p.kind in _BY_POSITION else None, p.default is inspect.Parameter.empty)
        for i, p in enumerate(named)
    ]


def takes_any_keyword(function: Callable[..., Any]) -> bool:
    """True where a function has ``**options``, or does not show its parameters."""
    try:
        kinds = {p.kind for p in inspect.signature(_described(function)).parameters.values()}
    except (ValueError, TypeError):
        return True
    return inspect.Parameter.VAR_KEYWORD in kinds


def passed_by_position(function: Callable[..., Any], given: Iterable[str]) -> list[str]:
    """Name what of the given arguments is passed by position, in its order: all, where a function has no names for it.

    >>> passed_by_position(lambda a, b, /, c: a, ["c", "b", "a"]), passed_by_position(lambda *all: all, ["y", "x"])
    (['a', 'b'], ['y', 'x'])
    """
    try:
        parameters = inspect.signature(_described(function)).parameters.values()
    except (ValueError, TypeError):
        return list(given)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return list(given)
    known = set(given)
    return [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY and p.name in known]


def is_autograd_apply(function: Any) -> bool:
    """True for the ``apply`` of an autograd Function, whose parameters are those of its ``forward``."""
    owner = getattr(function, "__self__", None)
    return getattr(function, "__name__", "") == "apply" and inspect.isclass(owner) and hasattr(owner, "forward")


def _described(function: Any) -> Any:
    """Return what shows the parameters: ``forward``, of a module, an object or the class of an autograd Function."""
    owner = function.__self__ if is_autograd_apply(function) else function
    # The call of a torch module takes anything, and hands it on to `forward`.
    return getattr(owner, "forward", None) or function


def score(name: str, second: Second) -> int:
    """Say how much a name tells of the second argument (above 0) or of the logits (below 0).

    >>> [score(name, Second.LABELS) for name in ("y_true", "y_pred", "t", "y", "a_name")]
    [3, -3, 2, 1, 0]
    >>> score("grad_output", Second.UPSTREAM), score("dout", Second.UPSTREAM), score("x", Second.UPSTREAM)
    (3, 3, -3)
    """
    snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return next((value for pattern, value in _SCORES[second].items() if re.search(pattern, snake_case)), 0)


def is_called_logits(parameter: Parameter) -> bool:
    """True where a backward pass calls its first argument logits, or x."""
    return score(parameter.name, Second.UPSTREAM) == _LOGITS


def is_called_output(parameter: Parameter) -> bool:
    """True where a backward pass calls its first argument by what the forward pass gave: s, p, y, output.

    >>> is_called_output(Parameter("probs", 0, True)), is_called_output(Parameter("x", 0, True))
    (True, False)
    """
    return score(parameter.name, Second.UPSTREAM) == _OUTPUT


def roles_of(parameters: list[Parameter], operation: Operation, given: Iterable[str] = ()) -> Roles | None:
    """Tell which parameters get the logits and the second argument; None where there are too few.

    `given` are the names of parameters that get something else.
    """
    free = [p for p in parameters if p.name not in given]
    if operation.second is Second.NONE:
        # Of several that must be given, the one whose name says so: f(weights, x).
        required = [p for p in free if p.is_required] or free
        return (
            Roles(min(required, key=lambda p: score(p.name, Second.NONE)), None, is_guess=False) if required else None
        )
    required = [p for p in free if p.is_required]
    optional = sorted((p for p in free if not p.is_required), key=lambda p: -score(p.name, operation.second))
    pair = [*required, *optional][: max(2, len(required))]
    if len(pair) < 2:
        return None
    scores = {p.name: score(p.name, operation.second) for p in pair}
    likeliest = [p for p in pair if scores[p.name] == max(scores.values())]
    # Where no name says so, it stands behind the logits.
    is_told = scores[likeliest[0].name] > 0
    second = likeliest[0] if is_told else pair[1] if pair[1] in likeliest else likeliest[-1]
    logits = min((p for p in pair if p is not second), key=lambda p: scores[p.name])
    return Roles(logits, second, is_guess=scores[logits.name] == scores[second.name])


def refuse_unknown(name: str, function: Callable[..., Any], given: Iterable[str]) -> None:
    """Raise `StablemaxError` for a further argument that a function has no parameter for."""
    parameters = parameters_of(function)
    if parameters is None or takes_any_keyword(function):
        return
    known = [p.name for p in parameters]
    for argument in given:
        if argument not in known:
            hint = suggest(argument, known) or f"its parameters: {listed(known)}"
            raise StablemaxError(f"--arg {shown(argument)}: {shown(name)} has no such parameter", hint)


def refuse_missing(name: str, parameters: list[Parameter], roles: Roles, given: Iterable[str]) -> None:
    """Raise `StablemaxError` where a function needs more arguments than it will get."""
    has = {roles.logits.name, *([] if roles.second is None else [roles.second.name]), *given}
    missing = [p.name for p in parameters if p.is_required and p.name not in has]
    if missing:
        raise StablemaxError(
            f"{shown(name)} takes {listed(missing)}, too",
            f"{' '.join(f'--arg {n}=VALUE' for n in missing)}; or --operation, where it computes another",
        )


def signature_of(function: Callable[..., Any]) -> str:
    """Write a function's parameters as they are declared, without types; empty where Python cannot show them.

    >>> signature_of(lambda x, axis=-1: x)
    'x, axis=-1'
    """
    try:
        declared = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return ""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in declared]
    # A default that is an object cannot be written down.
    known = [p if _is_literal(p.default) else p.replace(default=None) for p in plain]
    return str(inspect.Signature(known)).strip("()")


def _is_literal(value: Any) -> bool:
    return value is inspect.Parameter.empty or value is None or type(value) in (bool, int, float, str)
