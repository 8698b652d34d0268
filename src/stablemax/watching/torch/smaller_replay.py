"""A smaller replay that shows the same fault: one sample of a batch, say, and the last operations alone."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from stablemax.text.words import counted
from stablemax.watching.torch.replay import Replay, ReplayedOperation
from stablemax.watching.torch.replay_axes import Axes, axes_of, counted_along
from stablemax.watching.torch.replay_gradients import gradients_of
from stablemax.watching.torch.replay_likeness import cells_at, is_alike, is_like, is_same
from stablemax.watching.torch.replay_parts import (
    Kept,
    ReplayRun,
    between,
    cut,
    positions_of,
    run_of,
    without_factories,
)
from stablemax.watching.torch.wide_retrace import caused_beside_float64, first_error_beside_float64, operation_run

MOST_EXACT = 20_000
"""Numbers in all results of a replay that balls are computed for: a second or two."""
_MOST_PRODUCTS = 400_000
_MOST_GIVEN = 300_000
_WISHED = 0.25
"""The share of these that a part is cut down to, where that is possible: a fraction of a second."""
_FEW = 8
_TOLD = 4
_MOST_ENDS = 4
_MOST_RUN = 1 << 28
"""Numbers that all trials may compute: some seconds."""
_MOST_WIDE = 1 << 23
"""Numbers of a replay that runs again and again in float64."""
_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, NotImplementedError)
"""Of operations that do not run on a part."""


def is_small(replay: Replay) -> bool:
    """Tell whether balls can be computed for all of a replay."""
    return _size_of(replay) <= 1.0


def _size_of(replay: Replay) -> float:
    """Return the size of a replay; balls are computed for one of up to 1."""
    results = sum(o.numbers for o in replay.operations if o.plan.is_checked)
    products = sum(o.products for o in replay.operations)
    given = sum(t.numel() for t in replay.leaves.values())
    return max(results / MOST_EXACT, products / _MOST_PRODUCTS, given / _MOST_GIVEN)


@dataclass(frozen=True)
class CutAxis:
    """An axis that was cut: its length, and the indices that are kept."""

    size: int
    kept: tuple[int, ...]
    #: It is the first one of the faulty result.
    is_first: bool

    @property
    def words(self) -> str:
        """The indices in words: `sample 37 of the 128`."""
        noun = "sample" if self.is_first else "index"
        if len(self.kept) == 1:
            return f"{noun} {self.kept[0]} of the {self.size:,}"
        plural = "samples" if self.is_first else "indices"
        if len(self.kept) > _TOLD:
            return f"{len(self.kept):,} of the {self.size:,} {plural}"
        listed = ", ".join(map(str, self.kept[:-1]))
        return f"{plural} {listed} and {self.kept[-1]} of the {self.size:,}"


@dataclass(frozen=True)
class ReplayPart:
    """A part of a replay that shows the same fault in the same operation."""

    whole: Replay
    replay: Replay
    cuts: tuple[CutAxis, ...]
    #: By the numbers of tensors: which index of the whole each index of a dimension is; None where it is the same.
    places: Mapping[int, tuple[torch.Tensor | None, ...]] = field(repr=False)

    def place(self, number: int, place: Sequence[int]) -> list[int]:
        """Return where a cell of a tensor stands in the whole."""
        known = self.places.get(number) or (None,) * len(place)
        return [i if indices is None else int(indices[i]) for i, indices in zip(place, known, strict=True)]

    @property
    def words(self) -> str:
        """What it is of the whole, in words."""
        along = [c.words for c in self.cuts]
        few, many = len(self.replay.operations), len(self.whole.operations)
        parts = [" and ".join([", ".join(along[:-1]), along[-1]] if len(along) > 1 else along)] if along else []
        parts += [f"{few} of the last {counted(many, 'operation')}"] if few < many else []
        return "; ".join(parts)


def smaller_replay(replay: Replay, number: int) -> ReplayPart | None:
    """Find a part of a replay, small enough for balls, that shows the fault of the operation of a number.

    Each part is run: it counts where the same operation makes the same of finite numbers, and the result is bad. None
    where there is none.
    """
    try:
        search = _Search.of(without_factories(replay), number)
        return None if search is None else search.found()
    except _ERRORS:
        return None


class _Reach(enum.Enum):
    """The axes that are cut: what comes later stands for less of the whole."""

    OF_RESULT = "those of the faulty result"
    OTHERS = "others, too, such as classes that a label picks from"
    OF_WEIGHTS = "those of parameters, too"


@dataclass(frozen=True)
class _Search:
    whole: Replay
    number: int
    is_nan: bool
    reads_finite: bool
    now: Replay
    run: ReplayRun
    #: The first axis of the faulty result is that of samples, and not one of a parameter.
    has_samples: bool = False
    cuts: tuple[CutAxis, ...] = ()
    places: Mapping[int, tuple[torch.Tensor | None, ...]] = field(default_factory=dict)
    reach: _Reach = _Reach.OF_RESULT
    #: Numbers that trials have computed.
    spent: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, whole: Replay, number: int) -> _Search | None:
        """Begin with the whole; None where it does not show the fault."""
        run = run_of(whole)
        position = next((i for i, o in enumerate(whole.operations) if o.number == number), None)
        if position is None:
            return None
        bad = [t for t in run.given[position] if t.is_floating_point() and not bool(t.isfinite().all())]
        if not bad:
            return None
        search = cls(whole, number, bool(bad[0].isnan().any()), run.read_finite[position], whole, run)
        axes = axes_of(whole, run.tensors)
        of_weights = {a for n in whole.weights for d in axes.dimensions[n] for a in axes.of(d)}
        return replace(search, has_samples=not of_weights & set(search._wanted(axes)[1]))

    def found(self) -> ReplayPart | None:
        """Cut along the axes; where that does not do, leave out operations, and cut along what these had kept whole."""
        for reach in _Reach:
            aimed = replace(self, reach=reach)
            cut_down = aimed.cut()
            found = [cut_down] if is_small(cut_down.now) else []
            for way in () if cut_down.is_done else (cut_down.of_gradient, cut_down.shortened):
                search = way()
                found += [search] if search is not None and is_small(search.now) else []
                if search is not None and search.is_done:
                    break
            if found:
                best = min(found, key=lambda search: _size_of(search.now))
                part = ReplayPart(best.whole, best.now, best.cuts, best.places)
                return replace(part, replay=replace(best.now, part=part.words))
        return None

    # --- along axes ------------------------------------------------------------------------------

    def cut(self) -> _Search:
        """Keep what the first bad cell comes from along as many axes as it takes."""
        axes = axes_of(self.now, self.run.tensors)
        of_weights = {a for n in self.now.weights for d in axes.dimensions[n] for a in axes.of(d)}
        wanted, first = self._wanted(axes)
        kept: dict[int, list[int]] = {}
        search = self
        tried = [a for a in wanted if a not in of_weights]
        if self.reach is not _Reach.OF_RESULT:
            tried += [a for a in self._other_axes(axes, wanted) if a not in of_weights]
        if self.reach is _Reach.OF_WEIGHTS:
            tried += [a for a in wanted if a in of_weights]
        for axis in tried:
            if search.is_done or not axes.may_be_cut(axis):
                continue
            for chosen in search._choices(axes, axis, wanted.get(axis, [])):
                cuts = {**kept, axis: chosen}
                part = self._showing(lambda: cut(self.now, axes, cuts))  # noqa: B023 - called at once
                if part is not None and is_alike(self.number, (self.now, self.run), part, axes, cuts):
                    kept = cuts
                    told = CutAxis(axes.size(axis), tuple(chosen), self.has_samples and axis in first)
                    search = replace(search, now=part[0], run=part[1], cuts=(*search.cuts, told))
                    break
        return replace(search, places={**self.places, **self._places(axes, kept)})

    def _wanted(self, axes: Axes) -> tuple[dict[int, list[int]], tuple[int, ...]]:
        """Return the indices of the first bad cell along the axes of the faulty result, and its outermost axes."""
        position = self._position
        operation = self.now.operations[position]
        outputs = zip(operation.outputs, self.run.given[position], strict=True)
        number, values = next((n, t) for n, t in outputs if t.is_floating_point() and not bool(t.isfinite().all()))
        bad = values.isnan() if self.is_nan else values.isinf()
        place = [int(i) for i in bad.nonzero()[0]]
        wanted: dict[int, list[int]] = {}
        for index, dimension in zip(place, axes.dimensions[number], strict=True):
            for axis in reversed(axes.of(dimension)):
                index, own = divmod(index, axes.size(axis))  # noqa: PLW2901 - digit by digit
                wanted[axis] = [*wanted.get(axis, []), own]
        for axis, indices in wanted.items():
            # Along both sides of a matrix of pairs: two make the smallest with a pair.
            beside = [(indices[0] + 1) % axes.size(axis)] if len(indices) > 1 == len(set(indices)) else []
            wanted[axis] = sorted({*indices, *beside})
        return wanted, axes.of(axes.dimensions[number][0])[:1] if place else ()

    def _other_axes(self, axes: Axes, wanted: Mapping[int, list[int]]) -> list[int]:
        """Return the axes that the faulty result does not have, those of the most numbers first."""
        worth: dict[int, int] = {}
        for n, dims in axes.dimensions.items():
            for axis in {a for d in dims for a in axes.of(d)} - set(wanted):
                worth[axis] = worth.get(axis, 0) + self.run.tensors[n].numel()
        return sorted(worth, key=lambda a: -worth[a])

    def _choices(self, axes: Axes, axis: int, wanted: list[int]) -> Iterator[list[int]]:
        """Yield which indices to keep: those of the bad cell, with those of extremes, with some more; else a share."""
        size, picked = axes.size(axis), self._picked(axes, axis)
        least = sorted({*wanted, *picked})
        beside = sorted({*least, *self._extremes(axes, axis)})
        shares: list[list[int]] = []
        if wanted:
            shares = [sorted({*least, *(i * size // _FEW for i in range(_FEW))})]
        elif not picked:
            shares = [list(range(size // share)) for share in (8, 4, 2) if size >= share]
            shares.append(list(range(size // 2, size)))
        for chosen in ([least] if wanted else []) + [beside, *shares]:
            if 0 < len(chosen) < size:
                yield chosen

    def _picked(self, axes: Axes, axis: int) -> set[int]:
        """Return which indices along an axis are picked by index, where these are few."""
        found: set[int] = set()
        for operation in self.now.operations:
            for number, dimension in counted_along(operation, axes.dimensions):
                if axes.of(dimension) == (axis,) and number in self.now.leaves:
                    found |= set(map(int, self.now.leaves[number].flatten().tolist()))
        return found if len(found) <= _FEW else set()

    def _extremes(self, axes: Axes, axis: int) -> set[int]:
        """Return where along an axis the largest and the smallest numbers stand that the last operations read."""
        found: set[int] = set()
        for operation in self.now.operations[: self._position + 1][-4:]:
            for n in operation.inputs:
                tensor = self.run.tensors[n]
                where = [i for i, d in enumerate(axes.dimensions[n]) if axes.of(d) == (axis,)]
                if len(where) == 1 and tensor.is_floating_point() and tensor.numel():
                    flat = tensor.double().nan_to_num(0.0).movedim(where[0], -1).reshape(-1, axes.size(axis))
                    found |= {int(flat.amax(0).argmax()), int(flat.amin(0).argmin())}
        return found

    def _places(self, axes: Axes, kept: Kept) -> dict[int, tuple[torch.Tensor | None, ...]]:
        """Return where the numbers that are left stand in the whole."""
        places = {}
        for n, dims in axes.dimensions.items():
            now = [positions_of(axes, d, kept) for d in dims]
            before = self.places.get(n, (None,) * len(dims))
            places[n] = tuple(
                new if old is None else old if new is None else old[new] for old, new in zip(before, now, strict=True)
            )
        return places

    # --- fewer operations ------------------------------------------------------------------------

    def shortened(self) -> _Search | None:
        """Begin later and end earlier: as late an end, then as early a beginning, as balls allow."""
        latest = self._latest_start()
        ends = [
            n
            for i in range(len(self.now.operations) - 1, self._position - 1, -1)
            for n, t in zip(self.now.operations[i].outputs, self.run.given[i], strict=True)
            if t.is_floating_point() and not bool(t.isfinite().all())
        ]
        ends = list(dict.fromkeys(ends))
        best: _Search | None = None
        for end in [*ends[: _MOST_ENDS - 1], *ends[_MOST_ENDS - 1 :][-1:]]:
            found = self._between(latest, end)
            if found is None:
                continue
            if best is None or _size_of(found.now) < _size_of(best.now):
                best = found
            if not found.is_done:
                continue
            low, high = -1, latest  # from `high` on it is small
            while high - low > 1:
                middle = (low + high) // 2
                earlier = self._between(middle, end)
                is_small_enough = earlier is not None and earlier.is_done
                low, high = (low, middle) if is_small_enough else (middle, high)
                best = earlier if is_small_enough else best
            return best
        return best

    def _between(self, start: int, end: int) -> _Search | None:
        part = self._showing(lambda: between(self.now, start, end))
        if part is None or not self._goes_on_alike(*part):
            return None
        return replace(self, now=part[0], run=part[1]).cut()

    def _goes_on_alike(self, part: Replay, run: ReplayRun) -> bool:
        """Tell whether all operations of a part give what they gave: it does not share what the whole writes to."""
        before = {o.number: given for o, given in zip(self.now.operations, self.run.given, strict=True)}
        return all(
            is_like(old, new, by_value=True)
            for o, given in zip(part.operations, run.given, strict=True)
            for old, new in zip(before[o.number], given, strict=True)
        )

    def _latest_start(self) -> int:
        """Return the last position to begin at: what float64 blames stays in; else what is cut away was right."""
        is_costly = sum(o.numbers + o.products // _FEW for o in self.now.operations) > _MOST_WIDE
        wide = None if is_costly else caused_beside_float64(self.now)
        if wide is not None:
            blamed = next(i for i, o in enumerate(self.now.operations) if o.number == wide.operation.number)
            return min(blamed, self._position)
        return first_error_beside_float64(self.now, self._position)

    def of_gradient(self) -> _Search | None:
        """Take the gradient by a tensor on the way to the loss: the first one that balls allow."""
        loss, operations = self.now.loss, self.now.operations
        if loss is None or operations[self._position].call_site.node is None:
            return None
        forward = [i for i, o in enumerate(operations) if o.call_site.node is None]
        ways = {n: i + 1 for i in forward for n in operations[i].outputs if self.run.tensors[n].is_floating_point()}
        gradients = gradients_of(self.now, [n for n in ways if n != loss])
        backward = [
            (n, t)
            for o, given in zip(operations[self._position :], self.run.given[self._position :], strict=True)
            for n, t in zip(o.outputs, given, strict=True)
        ]
        for way, gradient in gradients.items():
            if bool(gradient.isfinite().all()):
                continue
            end = next((n for n, t in backward if is_same(t, gradient)), None)
            search = None if end is None else self._between(ways[way], end)
            if search is not None and search.is_done and way in search.now.leaves:
                return replace(search, now=replace(search.now, leaf=way))
        return None

    # --- trials ----------------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """True where balls take a fraction of a second."""
        return _size_of(self.now) <= _WISHED

    @property
    def _position(self) -> int:
        return next(i for i, o in enumerate(self.now.operations) if o.number == self.number)

    def _showing(self, made: Callable[[], Replay]) -> tuple[Replay, ReplayRun] | None:
        """Run a part; return it where it shows the fault."""
        if sum(self.spent) > _MOST_RUN:
            return None
        try:
            part = made()
            run = run_of(part)
        except _ERRORS:
            return None
        self.spent.append(2 * sum(o.numbers + o.products // _FEW for o in part.operations))
        position = next((i for i, o in enumerate(part.operations) if o.number == self.number), None)
        if position is None or (self.reads_finite and not run.read_finite[position]):
            return None
        made_here = [t for t in run.given[position] if t.is_floating_point()]
        is_bad = any(bool((t.isnan() if self.is_nan else t.isinf()).any()) for t in made_here)
        return (part, run) if is_bad and not bool(part.expected.isfinite().all()) else None


def gives_the_same(part: ReplayPart, operation: ReplayedOperation, *, by_value: bool) -> bool:
    """Tell whether an operation gives in a part what it gives in the whole: its numbers, or where they are 0 or bad."""
    whole, here = (operation_run(r, operation.number) for r in (part.whole, part.replay))
    if whole is None or here is None:
        return False
    pairs = zip(operation.outputs, whole.given, here.given, strict=True)
    by_value = by_value and operation.call_site.node is None
    return all(is_like(cells_at(old, part.places.get(n, ())), new, by_value=by_value) for n, old, new in pairs)
