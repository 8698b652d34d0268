"""Files that show a fault without the training run: its inputs, a script, and a test that fails."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stablemax.results.watched import WatchedFault
from stablemax.text.errors import StablemaxError, shown
from stablemax.trace.traced_code import display_name
from stablemax.watching.repro_place import INPUTS, SCRIPT, TEST, check_folder
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.replay import Replay, ReplayedOperation, TensorNumber, ordinary
from stablemax.watching.watch_options import WatchedKind

_HEAD = '''"""{finding}

Run this file: it repeats the last operations of step {step} on {given}, and shows what each gives.
"""

from pathlib import Path

import numpy as np
import torch

with np.load(Path(__file__).with_name("{inputs}")) as stored:
    INPUTS = dict(stored)


def given(name, dtype):
    """Return an input in its dtype."""
    return torch.from_numpy(INPUTS[name]).to(dtype, copy=True)


def shown(name, tensor, line):
    """Print what a tensor holds."""
    x = tensor.detach().double()
    finite = x[x.isfinite()]
    span = f"{{finite.min():.6g}} to {{finite.max():.6g}}" if finite.numel() else "no finite number"
    counts = {{"inf": int(x.isinf().sum()), "NaN": int(x.isnan().sum()), "zero": int((x == 0).sum())}}
    words = ", ".join(f"{{n}} {{word}}" for word, n in counts.items() if n)
    print(f"{{name}}: {{span}}{{', of ' + str(x.numel()) + ': ' + words if words else ''}}    {{line}}")


def inputs():
    """Return what the operations got."""
    return [
{inputs_list}    ]


def last_operations({parameters}, show=lambda *_: None):
    """The operations of the run; a cure goes here."""
{body}    return {result}


def bad_cells(out):
    """Mark the cells of a result that are {bad_words}."""
{bad_body}

if __name__ == "__main__":
    for name, x in zip({names!r}, inputs(), strict=True):
        shown(name, x, "went in")
    out = last_operations(*inputs(), show=shown)
    print(f"{{int(bad_cells(out).sum())}} of {{out.numel()}} cells of the result are {bad_words}")
'''

_TEST = '''"""Fails as long as the operations in show.py, of step {step}, give cells that are {bad_words}."""

import importlib.util
from pathlib import Path

# By its path: another folder may hold a show.py, too.
spec = importlib.util.spec_from_file_location("stablemax_repro_show", Path(__file__).with_name("{script}"))
show = importlib.util.module_from_spec(spec)
spec.loader.exec_module(show)


def test_the_last_operations_give_the_numbers_that_they_should():
    out = show.last_operations(*show.inputs())
    bad = int(show.bad_cells(out).sum())
    assert bad == 0, f"{{bad}} of {{out.numel()}} cells are {bad_words}"
'''


@dataclass(frozen=True)
class _Bad:
    """Which cells of a result show the fault."""

    words: str
    #: The lines of a function of the result, `out`.
    body: str


_NOT_FINITE = _Bad("inf or NaN", "    return ~out.isfinite()\n")
_LOST = _Bad(
    "0, and are not in float64",
    "    wide = last_operations(*(x.double() if x.is_floating_point() else x for x in inputs()))\n"
    "    return (out == 0) & (wide != 0)\n",
)


def write_repro(path: str, replay: Replay, fault: WatchedFault, finding: str, sites: CallSites) -> None:
    """Write the files beside the folder, then give them its name; a folder of ours that is there is replaced."""
    check_folder(path)
    bad = _LOST if fault.kind == WatchedKind.LOST else _NOT_FINITE
    if bad is _LOST and not _loses(replay):
        raise StablemaxError("the last operations in float64 do not show it", "watch a smaller program")
    target = Path(path).absolute()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        beside.mkdir()
        np.savez(beside / INPUTS, **{replay.names[n]: _stored(t) for n, t in replay.leaves.items()})
        (beside / SCRIPT).write_text(_script(replay, finding, fault.step, bad, sites), encoding="utf-8")
        (beside / TEST).write_text(_TEST.format(step=fault.step, script=SCRIPT, bad_words=bad.words), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        beside.rename(target)
    except OSError as error:
        raise StablemaxError(f"{shown(path)}: cannot be written ({error.strerror})", "name another: --repro") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _stored(tensor: torch.Tensor) -> Any:
    # NumPy has no bfloat16; float32 holds each of its numbers.
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).resolve_neg().numpy()


def _loses(replay: Replay) -> bool:
    """Tell whether the operations of a replay give 0 where they do not in float64."""
    with ordinary():
        try:
            wide = replay.run({n: t.double() if t.is_floating_point() else t for n, t in replay.leaves.items()})
        except (RuntimeError, TypeError, NotImplementedError):
            return False
    return bool(((replay.expected == 0) & (wide != 0)).any())


def _script(replay: Replay, finding: str, step: int, bad: _Bad, sites: CallSites) -> str:
    names = dict(replay.names)
    body = "".join(_line(o, names, sites) for o in replay.operations)
    parameters = [replay.names[n] for n in replay.leaves]
    listed = "".join(f"        given({replay.names[n]!r}, {t.dtype}),\n" for n, t in replay.leaves.items())
    return _HEAD.format(
        finding=finding.replace("\\", "\\\\").replace('"""', "'''"),
        step=step,
        given=f"a part of what they got ({replay.part})" if replay.part else "what they got",
        inputs=INPUTS,
        inputs_list=listed,
        parameters=", ".join(parameters),
        body=body,
        result=names[replay.result],
        names=parameters,
        bad_words=bad.words,
        bad_body=bad.body,
    )


def _line(operation: ReplayedOperation, names: dict[int, str], sites: CallSites) -> str:
    arguments = [_written(a, names) for a in operation.arguments]
    arguments += [f"{k}={_written(v, names)}" for k, v in operation.options.items()]
    fresh = [n for n in operation.outputs if n not in names]
    for n in fresh:
        names[n] = f"x{n}" if f"x{n}" not in names.values() else f"y{n}"
    call = f"torch.ops.{str(operation.function).replace('::', '.')}({', '.join(arguments)})"
    site = sites.resolved(operation.call_site)
    is_single = operation.positions is None
    line = f"{display_name(site.code.co_filename)}:{site.line}" if site.code is not None else ""
    text = f"    {names[fresh[0]]} = {call}\n" if fresh and is_single else f"    results = {call}\n"
    if fresh and not is_single:
        places = operation.positions or ()
        text += "".join(f"    {names[n]} = results[{i}]\n" for n, i in zip(operation.outputs, places, strict=True))
    for n in operation.outputs:
        text += f"    show({names[n]!r}, {names[n]}, {f'{operation.plan.name}  {line}'.rstrip()!r})\n"
    return text


def _written(value: Any, names: dict[int, str]) -> str:
    """Write an argument as Python."""
    if isinstance(value, TensorNumber):
        return names[value.number]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_written(v, names) for v in value)}]"
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    return f"float({str(value)!r})" if isinstance(value, float) else repr(value)
