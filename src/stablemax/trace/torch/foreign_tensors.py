"""Tensors that no operator of a run made: constants, or what came back from outside PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from stablemax.trace.torch.aten_call import Call
from stablemax.trace.torch.eager_mode import Eager
from stablemax.trace.torch.storage import wide
from stablemax.trace.torch.torch_lines import Locator


class ForeignTensors(Eager):
    """Records the numbers that operators get which neither are arguments of the code nor were made by an operator."""

    def __init__(self, arguments: list[torch.Tensor], locator: Locator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.locator = locator
        #: By the call that took them, with its line.
        self.found: dict[str, set[bytes]] = {}
        # While the references live, no other storage gets the address of one.
        self._known: dict[int, StorageWeakRef] = {}
        for tensor in arguments:
            self._know(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and look at what it gets."""
        call = Call(func, tuple(args), kwargs or {})
        foreign = [wide(t).tobytes() for t in call.floats if not self._is_known(t)]
        foreign += [str(a).encode() for a in call.arguments if type(a) is float]
        if foreign:
            site = self.locator.site()
            text = self.locator.source() or call.name
            where = f" at {Path(site.file).name}:{site.line}" if site.file else ""
            self.found.setdefault(f"{text}{where}", set()).update(foreign)
        result = func(*call.arguments, **call.options)
        for output in call.outputs(result):
            if isinstance(output, torch.Tensor):
                self._know(output)
        return result

    def _know(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self._known[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]

    def _is_known(self, tensor: torch.Tensor) -> bool:
        return isinstance(tensor, torch.nn.Parameter) or tensor.untyped_storage()._cdata in self._known
