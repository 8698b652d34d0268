"""Files that show a fault without the training run: its inputs, a script, and a test that fails."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stablemax.text.errors import StablemaxError, shown
from stablemax.trace.traced_code import display_name
from stablemax.watching.repro_place import INPUTS, SCRIPT, TEST, check_folder
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.replay import Replay, ReplayedOperation, TensorNumber

_HEAD = '''"""{finding}

Run this file: it repeats the last operations of step {step} on what they got, and shows what each gives.
"""

from pathlib import Path

import numpy as np
import torch

with np.load(Path(__file__).with_name("{inputs}")) as stored:
    INPUTS = dict(stored)


def given(name, dtype):
    """Return an input in its dtype."""
    return torch.from_numpy(INPUTS[name]).to(dtype)


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


if __name__ == "__main__":
    for name, x in zip({names!r}, inputs(), strict=True):
        shown(name, x, "went in")
    out = last_operations(*inputs(), show=shown)
    bad = int((~out.isfinite()).sum())
    print(f"{{bad}} of {{out.numel()}} cells of the result are not finite")
'''

_TEST = '''"""Fails as long as the operations in show.py give inf or NaN for what they got at step {step}."""

import importlib.util
from pathlib import Path

# By its path: another folder may hold a show.py, too.
spec = importlib.util.spec_from_file_location("stablemax_repro_show", Path(__file__).with_name("{script}"))
show = importlib.util.module_from_spec(spec)
spec.loader.exec_module(show)


def test_the_last_operations_give_finite_numbers():
    out = show.last_operations(*show.inputs())
    bad = int((~out.isfinite()).sum())
    assert bad == 0, f"{{bad}} of {{out.numel()}} cells are inf or NaN"
'''


def write_repro(path: str, replay: Replay, finding: str, step: int, sites: CallSites) -> None:
    """Write the files beside the folder, then give them its name; a folder of ours that is there is replaced."""
    check_folder(path)
    target = Path(path).absolute()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        beside.mkdir()
        np.savez(beside / INPUTS, **{replay.names[n]: _stored(t) for n, t in replay.leaves.items()})
        (beside / SCRIPT).write_text(_script(replay, finding, step, sites), encoding="utf-8")
        (beside / TEST).write_text(_TEST.format(step=step, script=SCRIPT), encoding="utf-8")
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


def _script(replay: Replay, finding: str, step: int, sites: CallSites) -> str:
    names = dict(replay.names)
    body = "".join(_line(o, names, sites) for o in replay.operations)
    parameters = [replay.names[n] for n in replay.leaves]
    listed = "".join(f"        given({replay.names[n]!r}, {t.dtype}),\n" for n, t in replay.leaves.items())
    return _HEAD.format(
        finding=finding.replace("\\", "\\\\").replace('"""', "'''"),
        step=step,
        inputs=INPUTS,
        inputs_list=listed,
        parameters=", ".join(parameters),
        body=body,
        result=names[replay.result],
        names=parameters,
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
