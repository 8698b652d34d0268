"""What PyTorch picks out of an array, or puts into one by index, exactly: pooling, padding, scattering, embeddings."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import INFINITE, MINUS_INFINITE, as_array, as_cell, cells_of, nearest
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.exact_ops import NotExact, added_at, in_cells, positions

if TYPE_CHECKING:
    from stablemax.trace.torch.aten_call import Call

# ruff: noqa: A002, ARG001, FBT001, FBT002 - names, arguments and their order are those of aten's schemas

_DIVIDE = FUNCTIONS["divide"]
_ZERO, _ONE = as_cell(0), as_cell(1)
_ATEN = torch.ops.aten


# --- moves that PyTorch has of real numbers alone -------------------------------------------------------


def _places(move: Callable[..., Any], shape: Sequence[int], *args: Any, **kwargs: Any) -> Array:
    """Run an operator that moves numbers on positions: for each number that it makes, where that came from."""
    return _whole(move(positions(tuple(shape)).to(torch.float64), *args, **kwargs))


def _whole(tensor: torch.Tensor) -> Array:
    return tensor.numpy().astype(np.int64)


def _moved(move: Callable[..., Any], self: Array, *args: Any, **kwargs: Any) -> Array:
    return self.ravel()[_places(move, self.shape, *args, **kwargs)]


def _nearest_backward(
    move: Callable[..., Any],
    grad_output: Array,
    output_size: Any,
    input_size: Sequence[int],
    *scales: Any,
    **named: Any,
) -> Array:
    return added_at(
        cells_of(np.zeros(input_size)), _places(move, input_size, output_size, *scales, **named), grad_output
    )


def _pad_backward(move: Callable[..., Any], grad_output: Array, self: Array, padding: Any) -> Array:
    return added_at(cells_of(np.zeros(self.shape)), _places(move, self.shape, padding), grad_output)


def _constant_pad(self: Array, pad: Sequence[int], value: float = 0) -> Array:
    places = _ATEN.constant_pad_nd(positions(self.shape), list(pad), -1).numpy()
    return np.append(self.ravel(), as_array(as_cell(value)))[places]


def _packed(input: Array, lengths: torch.Tensor, batch_first: bool) -> Any:
    return input.ravel()[_whole(_ATEN._pack_padded_sequence(positions(input.shape), lengths, batch_first)[0])], None


def _packed_backward(grad: Array, input_size: Sequence[int], batch_sizes: torch.Tensor, batch_first: bool) -> Array:
    # The first number is 1: what no number goes to is 0.
    numbers = (positions(grad.shape) + 1).to(torch.float64)
    places = _ATEN._pack_padded_sequence_backward(numbers, list(input_size), batch_sizes, batch_first)
    return np.append(as_array(_ZERO), grad.ravel())[_whole(places)]


# --- maxima of windows ----------------------------------------------------------------------------------


def _picked(self: Array, places: Array, axes: int) -> Array:
    """Take cells by their places within the last axes."""
    planes = self.reshape(*self.shape[:-axes], -1)
    return np.take_along_axis(planes, places.reshape(*places.shape[:-axes], -1), axis=-1).reshape(places.shape)


def _max_pool(pool: Callable[..., Any], axes: int, self: Array, *args: Any, **kwargs: Any) -> Any:
    places = pool(torch.from_numpy(nearest(self).copy()), *args, **kwargs)[1]
    return _picked(self, places.numpy(), axes), None


def _max_pool_backward(axes: int, grad_output: Array, self: Array, *options: Any, **named: Any) -> Any:
    indices: Any = named["indices"] if named else options[-1]
    places = indices.cpu().numpy()
    planes = np.arange(math.prod(self.shape[:-axes])).reshape(*self.shape[:-axes], *[1] * axes)
    size = math.prod(self.shape[-axes:])
    return added_at(cells_of(np.zeros(self.shape)), planes * size + places, grad_output)


def _of_run(axes: int, call: Call, self: Array, *options: Any) -> Any:
    """Take the maxima where the run found them: its random windows are no others."""
    return _picked(self, call.ran[1].cpu().numpy(), axes), None


# --- scattering with a reduction ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reduction:
    """How numbers that go to one cell are put together."""

    combine: Callable[[Any, Any], Any]
    #: What a cell holds before the first one, where its own number does not count.
    start: Any
    is_mean: bool = False


_REDUCTIONS: Mapping[str, _Reduction] = MappingProxyType(
    {
        "sum": _Reduction(operator.add, _ZERO),
        "add": _Reduction(operator.add, _ZERO),
        "prod": _Reduction(operator.mul, _ONE),
        "multiply": _Reduction(operator.mul, _ONE),
        "mean": _Reduction(operator.add, _ZERO, is_mean=True),
        "amax": _Reduction(FUNCTIONS["maximum"], MINUS_INFINITE),
        "amin": _Reduction(FUNCTIONS["minimum"], INFINITE),
    }
)


def _reduced_at(self: Array, where: Array, values: Array, reduce: str, include_self: bool) -> Array:
    """Put values into cells together with what other values go there; a cell that gets none keeps its own number."""
    reduction, out = _REDUCTIONS[reduce], self.flatten()
    counts = np.full(out.size, int(include_self))
    flat = where.ravel().tolist()
    if not include_self:
        out[list(set(flat))] = reduction.start
    for place, value in zip(flat, np.broadcast_to(values, where.shape).ravel().tolist(), strict=True):
        out[place] = reduction.combine(out[place], value)
        counts[place] += 1
    if reduction.is_mean:
        some = np.flatnonzero(counts > 1)
        out[some] = _DIVIDE(out[some], cells_of(counts[some]))
    return out.reshape(self.shape)


def _scatter_places(self: Array, dim: int, index: torch.Tensor) -> Array:
    if self.ndim == 0:
        raise NotExact
    inside = tuple(slice(None) if d == dim % self.ndim else slice(0, n) for d, n in enumerate(index.shape))
    return torch.gather(positions(self.shape)[inside], dim, index.cpu()).numpy()


def _scatter_reduce(
    self: Array, dim: int, index: torch.Tensor, src: Any, reduce: str, *, include_self: bool = True
) -> Array:
    return _reduced_at(self, _scatter_places(self, dim, index), _of_index(src, index), reduce, include_self)


def _of_index(src: Any, index: torch.Tensor) -> Array:
    """Return the values that an index of a smaller shape names."""
    values = in_cells(src)
    return values[tuple(slice(0, n) for n in index.shape)] if values.ndim else values


def _index_reduce(
    self: Array, dim: int, index: torch.Tensor, source: Array, reduce: str, *, include_self: bool = True
) -> Array:
    return _reduced_at(self, positions(self.shape).index_select(dim, index.cpu()).numpy(), source, reduce, include_self)


def _index_add(self: Array, dim: int, index: torch.Tensor, source: Array, *, alpha: float = 1) -> Any:
    where = positions(self.shape).index_select(dim, index.cpu())
    return added_at(self, where.numpy(), as_array(source * as_cell(alpha)))


def _put(self: Array, index: torch.Tensor, source: Array, accumulate: bool = False) -> Array:
    where = index.cpu().numpy() % max(1, self.size)
    if accumulate:
        return added_at(self, where, source.reshape(where.shape))
    out = self.flatten()
    out[where] = source.reshape(where.shape)
    return out.reshape(self.shape)


def _masked_scatter(self: Array, mask: torch.Tensor, source: Array) -> Array:
    shape = np.broadcast_shapes(self.shape, tuple(mask.shape))
    out, is_taken = np.broadcast_to(self, shape).copy(), np.broadcast_to(mask.cpu().numpy(), shape)
    out[is_taken] = source.ravel()[: int(is_taken.sum())]
    return out


def _masked_scatter_backward(grad_output: Array, mask: torch.Tensor, sizes: Sequence[int]) -> Array:
    out = cells_of(np.zeros(math.prod(sizes)))
    taken = grad_output[mask.cpu().numpy()]
    out[: len(taken)] = taken
    return out.reshape(sizes)


def _scatter(self: Array, dim: int, index: torch.Tensor, src: Any, *, reduce: str | None = None) -> Array:
    """``scatter``: values into the cells that an index names along a dimension."""
    if reduce is not None:
        return _scatter_reduce(self, dim, index, src, reduce)
    out, where = self.flatten(), _scatter_places(self, dim, index)
    out[where] = np.broadcast_to(_of_index(src, index), where.shape)
    return out.reshape(self.shape)


def _scatter_add(self: Array, dim: int, index: torch.Tensor, src: Array) -> Array:
    """``scatter_add``: values added to the cells that an index names along a dimension."""
    return added_at(self, _scatter_places(self, dim, index), _of_index(src, index))


def _bincount(self: torch.Tensor, weights: Array | None = None, minlength: int = 0) -> Array:
    where = self.cpu().numpy()
    size = max(minlength, int(where.max()) + 1 if where.size else 0)
    return added_at(cells_of(np.zeros(size)), where, in_cells(weights))


# --- embeddings -----------------------------------------------------------------------------------------


def _embedding_backward(
    grad_output: Array, indices: torch.Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    rows = grad_output.reshape(-1, grad_output.shape[-1])
    wanted = indices.ravel().tolist()
    out = cells_of(np.zeros((num_weights, grad_output.shape[-1])))
    for index, row in zip(wanted, rows, strict=True):
        if index != padding_idx:
            out[index] = out[index] + row
    return _by_frequency(out, wanted) if scale_grad_by_freq else out


def _by_frequency(gradient: Array, indices: Sequence[int]) -> Array:
    """Divide the gradient of each row by how often the row was looked up."""
    counts = np.bincount(indices, minlength=len(gradient))
    return as_array(_DIVIDE(gradient, cells_of(np.maximum(counts, 1))[:, None]))


_SUM, _MEAN, _MAX = 0, 1, 2


def _bags(indices: torch.Tensor, offsets: torch.Tensor, include_last: bool, padding_idx: int) -> list[list[int]]:
    """Return which look-ups each bag holds, by their places in `indices`; those of the padding do not count."""
    rows, starts = indices.tolist(), offsets.tolist()
    ends = starts[1:] if include_last else [*starts[1:], len(rows)]
    return [[i for i in range(s, e) if rows[i] != padding_idx] for s, e in zip(starts, ends, strict=False)]


def _embedding_bag(
    weight: Array, indices: torch.Tensor, offsets: torch.Tensor, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Array | None = None, include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Any:  # fmt: skip
    rows = indices.tolist()
    out = cells_of(np.zeros((len(offsets) - include_last_offset, weight.shape[1])))
    for bag, members in enumerate(_bags(indices, offsets, include_last_offset, padding_idx)):
        if not members:
            continue
        taken = weight[[rows[i] for i in members]]
        if per_sample_weights is not None:
            taken = taken * per_sample_weights[members][:, None]
        if mode == _MAX:
            out[bag] = FUNCTIONS["maximum"].reduce(taken, axis=0)
        else:
            total = np.add.reduce(taken, axis=0)
            out[bag] = _DIVIDE(total, as_cell(len(members))) if mode == _MEAN else total
    return out, None, None, None


def _embedding_bag_backward(
    grad: Array, indices: torch.Tensor, offsets: torch.Tensor, offset2bag: torch.Tensor, bag_size: torch.Tensor,
    maximum_indices: torch.Tensor, num_weights: int, scale_grad_by_freq: bool, mode: int, sparse: bool,
    per_sample_weights: Array | None, padding_idx: int = -1,
) -> Any:  # fmt: skip
    out, rows = cells_of(np.zeros((num_weights, grad.shape[1]))), indices.tolist()
    if mode == _MAX:
        for bag, winners in enumerate(maximum_indices.tolist()):
            for column, row in enumerate(winners):
                if bag_size[bag]:
                    out[row, column] = out[row, column] + grad[bag, column]
        return out
    for bag, members in enumerate(_bags(indices, offsets, _has_end(grad, offsets), padding_idx)):
        share = _DIVIDE(grad[bag], as_cell(len(members))) if mode == _MEAN and members else grad[bag]
        for i in members:
            part = share if per_sample_weights is None else share * per_sample_weights[i]
            out[rows[i]] = out[rows[i]] + part
    return _by_frequency(out, rows) if scale_grad_by_freq else out


def _has_end(grad: Array, offsets: torch.Tensor) -> bool:
    """Tell whether the last offset is no bag's beginning but the end of all."""
    return len(offsets) == len(grad) + 1


def _per_sample_backward(
    grad: Array, weight: Array, indices: torch.Tensor, offsets: torch.Tensor, offset2bag: torch.Tensor, mode: int,
    padding_idx: int = -1,
) -> Any:  # fmt: skip
    rows, out = indices.tolist(), cells_of(np.zeros(len(indices)))
    for bag, members in enumerate(_bags(indices, offsets, _has_end(grad, offsets), padding_idx)):
        for i in members:
            out[i] = np.add.reduce(grad[bag] * weight[rows[i]], initial=_ZERO)
    return out


_MAX_POOLS: Iterable[tuple[str, int]] = (
    ("max_pool2d_with_indices", 2), ("max_pool3d_with_indices", 3), ("adaptive_max_pool2d", 2),
    ("adaptive_max_pool3d", 3),
)  # fmt: skip
_NEAREST = (
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
)  # fmt: skip
_PADS = tuple(f"{kind}_pad{n}d" for kind in ("replication", "reflection") for n in (1, 2, 3))

PICKED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: functools.partial(_max_pool, getattr(_ATEN, name), axes) for name, axes in _MAX_POOLS},
        **{f"{name}_backward": functools.partial(_max_pool_backward, axes) for name, axes in _MAX_POOLS},
        **{f"fractional_max_pool{n}d_backward": functools.partial(_max_pool_backward, n) for n in (2, 3)},
        **{name: functools.partial(_moved, getattr(_ATEN, name)) for name in (*_NEAREST, *_PADS)},
        **{f"{name}_backward": functools.partial(_nearest_backward, getattr(_ATEN, name)) for name in _NEAREST},
        **{f"{name}_backward": functools.partial(_pad_backward, getattr(_ATEN, name)) for name in _PADS},
        "constant_pad_nd": _constant_pad,
        "_pack_padded_sequence": _packed,
        "_pack_padded_sequence_backward": _packed_backward,
        "scatter_reduce": _scatter_reduce,
        "index_reduce": _index_reduce,
        "index_add": _index_add,
        "put": _put,
        "masked_scatter": _masked_scatter,
        "masked_scatter_backward": _masked_scatter_backward,
        "scatter": _scatter,
        "scatter_add": _scatter_add,
        "bincount": _bincount,
        "embedding_dense_backward": _embedding_backward,
        "_embedding_bag": _embedding_bag,
        "_embedding_bag_forward_only": _embedding_bag,
        "_embedding_bag_backward": _embedding_bag_backward,
        "_embedding_bag_per_sample_weights_backward": _per_sample_backward,
    }
)
"""Operators by their aten name."""

PICKED_AT_RANDOM: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {f"fractional_max_pool{n}d": functools.partial(_of_run, n) for n in (2, 3)}
)
"""Operators that choose at random: they get the call first, with what it gave."""
