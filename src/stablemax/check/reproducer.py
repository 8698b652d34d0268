"""A failing trial as what a person needs to see it: numbers, Python to paste, a pytest test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.array_literals import array_literal, dtype_module, nested
from stablemax.check.import_lines import CodeToImport, import_lines
from stablemax.check.laws import LAW_NAMES
from stablemax.check.target.layouts import layout_code
from stablemax.check.target.messages import OURS
from stablemax.hazards.catalogue import HazardCase
from stablemax.numerics.formats import Array, get_format
from stablemax.operations.operation import Second
from stablemax.results import Contract, Counterexample, Grade, LawVerdict
from stablemax.results.checked import UNSTABLE_IN
from stablemax.text.vocabulary import Reduction
from stablemax.trace.arrangement import InBatch

if TYPE_CHECKING:
    from stablemax.check.target.call_style import CallStyle
    from stablemax.check.target.messages import TargetInfo
    from stablemax.check.trials import Trial, Trials

_MAX_CELLS = 4096
"""Larger inputs are not kept in the report."""
_MAX_CHARACTERS = 60


@dataclass(frozen=True)
class _FailingCall:
    """A call that breaks a contract."""

    info: TargetInfo
    style: CallStyle
    case: HazardCase
    #: Name of the number format.
    format: str
    contract: Contract
    #: Keyword arguments: ``weight``, ``label_smoothing``, ``ignore_index``.
    options: dict[str, Any]
    #: The mean or the sum of the losses: what a gradient is taken of.
    reduction: Reduction
    #: The gradient by autograd is what fails.
    backward: bool
    #: The grade that it does not reach.
    missed: Grade

    @property
    def backend(self) -> str:
        """Library whose arrays the call is written with."""
        return "numpy" if self.info.is_ours else self.info.backend

    @property
    def second_variable(self) -> str:
        """The variable that holds the operation's second argument; empty where it has none."""
        if self.info.operation.second is Second.NONE:
            return ""
        return "y" if self.info.operation.takes_labels else "g"

    @property
    def option_texts(self) -> dict[str, str]:
        """The keyword arguments as they are written."""
        return {name: f"{name}={'w' if name == 'weight' else value}" for name, value in self.options.items()}


def counterexample_of(
    trials: Trials, trial: Trial, style: CallStyle, *, backward: bool, broken: LawVerdict | None = None
) -> Counterexample:
    """Write a failing trial down; `broken` is the law that is broken where each output by itself is right."""
    info, case, fmt = trials.target.info, trial.case, trial.format
    options = {k: v for k, v in trials.call_on(case, fmt).options.items() if k in style.options}
    # Code whose small values are lost in exact arithmetic, too, has to become accurate there.
    missed = Grade.ACCURATE if trial.grade is Grade.STABLE else trials.contract.require
    call = _FailingCall(info, style, case, fmt.name, trials.contract, options, trials.reduction, backward, missed)
    output = trial.result.output if trial.verdict is not None else None
    truth = trial.setting.exact.truth.rounded
    # The truth is printed in the shape of the output: one number for all rows, or a flat list of one a row.
    truth_as_printed = truth if output is None else truth.reshape(output.shape)
    if broken is not None:
        comment = f"{broken.law}: {broken.detail}"
    else:
        comment = f"{trial.trouble or f'gives {_shortened(output)}'}; {_shortened(truth_as_printed)} is right"
    has_labels = info.operation.needs_targets and case.labels.ndim == 1 and case.logits.size <= _MAX_CELLS
    # Empty where the input is too large to spell out.
    arrays = _input(call)
    body = [*arrays, *_call(call)] if arrays else []
    code = [*_imports(call), "", *body, f"print(output)  # {comment}", ""] if body else []
    test = _test_of_output(call, body) if body else ""
    return Counterexample(
        format=fmt.name,
        logits=_rows(fmt.round(case.logits), case),
        labels=tuple(case.labels.tolist()) if has_labels else (),
        upstream=_rows(fmt.round(case.upstream) if info.operation.needs_upstream else None, case),
        outcome=trial.worst,
        output=_rows(output, case),
        truth=_rows(truth, case),
        code="\n".join(code),
        test=test if broken is None else _test_of_laws(call),
    )


def _rows(values: Array | None, case: HazardCase) -> tuple[tuple[float, ...], ...]:
    """Return the rows of an array for the report; none of an array that is missing, or of a large case."""
    if values is None or case.logits.size > _MAX_CELLS:
        return ()
    rows = values.astype(np.float64).reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    return tuple(map(tuple, rows.tolist()))


def _shortened(values: Array | None) -> str:
    """Write an array as nested lists; of a long one the beginning."""
    text = nested(np.asarray(values, dtype=np.float64).tolist(), "{:.9g}".format)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 3]}..."


def _test_of_output(call: _FailingCall, body: list[str]) -> str:
    """Write a pytest test that fails as long as the output of the lines is not right."""
    logits = ", ".join(f"{v:g}" for v in np.unique(call.case.logits)[:4]).replace("-", "minus ")
    assertion = f"assert_accurate({', '.join(_accuracy_arguments(call))})"
    return _test(call, "assert_accurate", f"is {call.missed} at {logits} in {call.format}", [*body, assertion])


def _test_of_laws(call: _FailingCall) -> str:
    """Write a pytest test that fails as long as the implementation breaks a law."""
    info, contract = call.info, call.contract
    operation = (info.operation.forward if call.backward else None) or info.operation
    arguments = [info.expression, f'operation="{operation}"', f'formats=["{call.format}"]']
    if call.backend != "numpy":
        arguments.append(f'backend="{call.backend}"')
    if contract.allow:
        arguments.append(f"allow={list(contract.allow)!r}".replace("'", '"'))
    if contract.require is Grade.ACCURATE:
        arguments.append('require="accurate"')
    arguments += ['only=["gentle"]', "search=False", *(["backward=True"] if call.backward else [])]
    return _test(call, "assert_stable", "keeps its laws", [f"assert_stable({', '.join(arguments)})"])


def _test(call: _FailingCall, assertion: str, what: str, body: list[str]) -> str:
    name = call.info.name if call.info.is_ours else call.info.expression.rstrip("()").rpartition(".")[2]
    title = re.sub(r"\W+", "_", f"{name} {what}").strip("_").lower()
    head = _imports(call, assertion)
    return "\n".join([*head, "", "", f"def test_{title}() -> None:", *(f"    {line}" for line in body), ""])


def _accuracy_arguments(call: _FailingCall) -> list[str]:
    """Arguments of `assert_accurate`: what was computed from what, and the contract where it is not the usual one."""
    operation, contract, case = call.info.operation, call.contract, call.case
    # The classes are on the last axis.
    as_rows = "" if case.axes is None else f".reshape(-1, {case.logits.shape[-1]})"
    as_numbers = as_rows and ".reshape(-1)"
    output = "output" + (as_numbers if operation.per_row else as_rows)
    if as_rows and operation.reduces:
        output = f"{output} if output.ndim else output"
    arguments = [output, f'operation="{operation}"', f"logits=x{as_rows}"]
    if call.second_variable:
        noun = "labels" if operation.takes_labels else "upstream"
        is_of_rows = operation.needs_targets and case.labels.ndim == 1
        arguments.append(f"{noun}={call.second_variable}{as_numbers if is_of_rows else as_rows}")
    # The default already ignores label -100.
    arguments += [text for name, text in call.option_texts.items() if name != "ignore_index"]
    if contract.max_ulp is not None:
        arguments.append(f"max_ulp={contract.max_ulp!r}")
    if call.missed is Grade.STABLE:
        arguments.append('require="stable"')
    outcomes = [name for name in contract.allow if name not in LAW_NAMES and not name.startswith(UNSTABLE_IN)]
    if outcomes:
        arguments.append(f"allow={outcomes!r}".replace("'", '"'))
    if operation.of_losses and call.reduction is not Reduction.MEAN:
        arguments.append(f'reduction="{call.reduction}"')
    return arguments


def _imports(call: _FailingCall, assertion: str = "") -> list[str]:
    """Write the import lines of a call, and of the assertion that holds it."""
    info = call.info
    formats = [f"from {get_format.__module__} import get_format"] if get_format(call.format).is_emulated else []
    names = [*([assertion] if assertion else []), *([re.split(r"\W", info.expression)[0]] if info.is_ours else [])]
    ours = [*formats, *([f"from {OURS} import {', '.join(names)}"] if names else [])]
    after = ['jax.config.update("jax_enable_x64", True)'] if call.backend == "jax" else []
    code = None if info.is_ours else CodeToImport(info.module, info.expression, info.name)
    return import_lines(_library_imports(call), ours, after, code)


def _library_imports(call: _FailingCall) -> list[str]:
    numpy = "import numpy as np"
    further = any("np." in text for _, text in call.style.further)
    by_row = [numpy] if call.style.by_row or further else []
    if call.backend == "torch":
        return [*by_row, "import torch"]
    if call.backend == "jax":
        return ["import jax", "import jax.numpy as jnp", *by_row]
    module = dtype_module(call.backend, call.format)
    ours = [f"import {OURS}"] if call.style.of_output else []
    return [*([f"import {module}"] if module else []), numpy, *ours]


def _call(call: _FailingCall) -> list[str]:
    """Write the call that assigns `output`."""
    name, style = call.info.expression, call.style
    options = list(call.option_texts.values())
    if call.backward:
        keywords = [*([f"{style.axis}=-1"] if style.axis else []), *options]
        return _backward(call, name, "".join(f", {o}" for o in keywords))
    if style.by_row:
        second = f"{call.second_variable}[i]" if call.second_variable else ""
        (one,) = style.written(name, "x[i]", second, options)
        return [f"output = np.stack([{one} for i in range(len(x))])"]
    logits = _SOFTMAX[call.backend] if style.of_output else "x"
    *before, last = style.written(name, logits, call.second_variable, options)
    return [*before, f"output = {last}", *_taken_out_of_batch(call)]


_SOFTMAX = {
    # As the check has it: in float64, and rounded once.
    "numpy": f'{OURS}.implementation("softmax/compensated")(x.astype(float)).astype(x.dtype)',
    "torch": "torch.softmax(x.double(), dim=-1).to(x.dtype)",
    "jax": "jax.nn.softmax(x)",
}


def _taken_out_of_batch(call: _FailingCall) -> list[str]:
    """Write the line that takes the output out of its batch; one number for all rows stays."""
    if not call.style.axes:
        return []
    batch = InBatch(call.style.axes)
    others = "n" if call.info.operation.per_row else "nk"
    places = [("0" if axis == "1" else ":") for axis in batch.axes if axis == "1" or axis in others]
    transposed = ".T" if not call.info.operation.per_row and batch.axes.index("k") < batch.axes.index("n") else ""
    taken = f"output[{', '.join(places)}]{transposed}"
    return [f"output = {taken} if output.ndim else output" if call.info.operation.reduces else f"output = {taken}"]


def _backward(call: _FailingCall, name: str, options: str) -> list[str]:
    """Differentiate with the library's autograd: a loss, or a function with an upstream gradient."""
    of_loss = call.info.operation.of_losses
    if call.backend == "jax":
        if of_loss:
            return [f"output = jax.grad(lambda x: jnp.sum({name}(x, y{options})))(x)"]
        return [f"output = jax.vjp(lambda x: {name}(x{options}), x)[1](g)[0]"]
    if of_loss:
        return ["x.requires_grad_()", f"(output,) = torch.autograd.grad({name}(x, y{options}).sum(), x)"]
    return ["x.requires_grad_()", f"(output,) = torch.autograd.grad({name}(x{options}), x, g)"]


def _input(call: _FailingCall) -> list[str]:
    """Write the lines that make the arrays; none where one is too large to spell out."""
    arrays = {"x": (call.case.logits, call.format)}
    second_argument = call.case.second(call.info.operation)
    if second_argument is not None and call.style.rows_of_targets and second_argument.ndim == 1:
        second_argument = (np.arange(call.case.logits.shape[-1]) == second_argument[:, None]).astype(np.float64)
    if second_argument is not None:
        arrays[call.second_variable] = (second_argument, call.format if second_argument.ndim == 2 else "")
    if "weight" in call.options and call.case.weight is not None:
        arrays["w"] = (call.case.weight, call.format)
    if call.case.axes is not None:
        lay_out = call.case.axes.laid_out
        arrays = {name: (values if name == "w" else lay_out(values), fmt) for name, (values, fmt) in arrays.items()}
    literals = {name: array_literal(values, call.backend, fmt) for name, (values, fmt) in arrays.items()}
    if not all(literals.values()):
        return []
    lines = [f"{name} = {literal}" for name, literal in literals.items()]
    return [*lines, *layout_code(call.backend, call.case.layout)]
