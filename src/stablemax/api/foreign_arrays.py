"""Arrays of any library as NumPy arrays: in the memory where they lie, and without an import of that library."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.numerics.formats import FORMATS, Array
from stablemax.text.errors import StablemaxError, shown

_HOST_DEVICES = (1, 3, 11)
"""DLPack's numbers of the processor's own memory: the usual one, and that pinned for CUDA and for ROCm."""
_BITS = {1: "char", 2: "short"}
"""Methods of a tensor that convert it to the integers of as many bytes."""


def array_from(values: Any) -> Array:
    """Take anything that holds numbers: an array or a tensor of any library, nested lists, a number.

    It is copied only where NumPy cannot describe its memory.
    """
    if type(values) is np.ndarray:
        return values
    if np.ma.is_masked(values):
        raise StablemaxError(
            "a masked array, whose mask would be lost", "x.filled(-numpy.inf) takes masked classes out of a row"
        )
    try:
        if hasattr(values, "__dlpack_device__"):
            _check_device(values)
        return _as_numpy(values)
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        # The library's own words: of what NumPy lacks, of a layout, of a value that a compiler has yet to compute.
        is_array = hasattr(values, "__array__") or hasattr(values, "__dlpack__")
        hint = "x must be dense, in this machine's memory, and computed" if is_array else "rows need one length"
        raise StablemaxError(f"not an array: {shown(error)}", hint) from None


def _check_device(values: Any) -> None:
    kind, number = values.__dlpack_device__()
    if int(kind) not in _HOST_DEVICES:
        device = getattr(values, "device", f"{kind}:{number}")
        raise StablemaxError(
            f"an array on the device {shown(device)}", "copy it to this machine's memory first: x.cpu(), x.get()"
        )


def _as_numpy(values: Any) -> Array:
    if getattr(values, "requires_grad", False):
        values = values.detach()
    if hasattr(values, "resolve_neg"):
        # A tensor may be the negative of its memory.
        values = values.resolve_neg()
    fmt = FORMATS.get(str(getattr(values, "dtype", "")).removeprefix("torch."))
    if fmt is not None and not fmt.is_native and hasattr(values, "new_empty"):
        # PyTorch gives NumPy none of the formats that NumPy itself lacks; their bits are integers to both.
        integers = getattr(values.new_empty(0), _BITS[values.element_size()])().dtype
        return np.asarray(values.view(integers)).view(fmt.dtype)
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)
    return np.asarray(values)
