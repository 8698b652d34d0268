"""The last operations of a run as a program of their own: what it starts from, and its operations in turn."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stablemax.watching.torch.call_sites import CallSite
from stablemax.watching.torch.operands import mapped
from stablemax.watching.torch.operator_plan import OperatorPlan
from stablemax.watching.torch.ring import RingEntry, address_of, is_leaf, needs_gradient

MOST_OPERATIONS = 64
MOST_NUMBERS = 1 << 24


@dataclass(frozen=True)
class ReplayedOperation:
    """One operation of a replay: its arguments name tensors by their numbers."""

    function: Any
    #: `TensorNumber` in place of each tensor.
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    #: Numbers of the tensors that hold its results, and their dtypes and sizes.
    outputs: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    numbers: int
    #: Products that its results are sums of.
    products: int
    #: Where they stand among what it returns; None where it returns one tensor, or writes to its arguments.
    positions: tuple[int, ...] | None
    plan: OperatorPlan
    call_site: CallSite
    #: Its number in the run.
    number: int

    @property
    def inputs(self) -> list[int]:
        """The numbers of the tensors that it reads, in their order, those in lists too."""
        flat: list[Any] = []
        for value in (*self.arguments, *self.options.values()):
            flat += value if isinstance(value, (list, tuple)) else [value]
        return [v.number for v in flat if isinstance(v, TensorNumber)]


@dataclass(frozen=True)
class TensorNumber:
    """Stands for a tensor."""

    number: int


@dataclass(frozen=True)
class Replay:
    """Operations that run again without the program that they come from, on copies of what they got.

    It holds no tensor of the run, which would live as long.
    """

    #: By the numbers of the tensors, as they were before the first operation; on the CPU.
    leaves: dict[int, torch.Tensor]
    names: dict[int, str]
    operations: tuple[ReplayedOperation, ...]
    #: The tensor in which the fault shows.
    result: int
    #: What it was in the run.
    expected: torch.Tensor = field(repr=False)
    #: A write shows in another of its tensors.
    writes_to_views: bool = False
    #: Of a gradient: the leaf that it belongs to, and the loss that it was taken of, where these are known.
    leaf: int | None = None
    loss: int | None = None
    #: What tells the storage of each tensor that it starts from, and those of them that were made of weights.
    addresses: dict[int, int] = field(default_factory=dict)
    of_weights: frozenset[int] = frozenset()
    #: The leaves that are parameters or buffers.
    weights: frozenset[int] = frozenset()
    #: Which part it is of the last operations, in words; empty where it is all of them.
    part: str = ""

    def run(
        self, leaves: dict[int, torch.Tensor], around: Callable[[ReplayedOperation], Any] = lambda _: None
    ) -> torch.Tensor:
        """Run the operations on leaves; `around` is told of each before it runs."""
        tensors = dict(leaves)
        for operation in self.operations:
            around(operation)
            apply(operation, tensors)
        return tensors[self.result]

    @property
    def repeats(self) -> bool:
        """True where the operations give the very bits again that they gave in the run."""
        try:
            with ordinary():
                again = self.run({n: t.clone() for n, t in self.leaves.items()})
        except Exception:
            return False
        return again.dtype == self.expected.dtype and torch.equal(again.nan_to_num(7.5), self.expected.nan_to_num(7.5))


def schema_arguments(operation: ReplayedOperation) -> dict[str, Any]:
    """Return what an operation gets by the names of its schema."""
    names = (a.name for a in operation.function._schema.arguments)
    return dict(zip(names, operation.arguments, strict=False)) | operation.options


_MATRIX_PRODUCTS = frozenset(("mm", "bmm", "addmm", "baddbmm"))


def products_of(name: str, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> int:
    """Count the products that the results of an operation are sums of; 0 where they are none."""
    if name in _MATRIX_PRODUCTS:
        return outputs[0].numel() * inputs[-1].shape[-2]
    if name == "convolution":
        return outputs[0].numel() * inputs[1][:1].numel()
    return 2 * inputs[0].numel() * inputs[2][:1].numel() if name == "convolution_backward" else 0


def apply(operation: ReplayedOperation, tensors: dict[int, torch.Tensor]) -> None:
    """Run an operation on tensors by their numbers, and put what it gives among them."""

    def real(value: Any) -> Any:
        return tensors[value.number] if isinstance(value, TensorNumber) else value

    arguments, options = _changed(operation.arguments, real), _changed(operation.options, real)
    result = operation.function(*arguments, **options)
    results = result if isinstance(result, (list, tuple)) else (result,)
    if not operation.plan.writes:
        fresh = [t for t in results if isinstance(t, torch.Tensor)]
        tensors.update(zip(operation.outputs, fresh, strict=True))


@contextlib.contextmanager
def ordinary() -> Iterator[None]:
    """Run operations without what the program has switched on around them."""
    with torch.no_grad(), contextlib.ExitStack() as stack:
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def drafts_of(
    entries: Sequence[RingEntry],
    output: torch.Tensor,
    name_of: Callable[[torch.Tensor], str],
    *,
    leaf: torch.Tensor | None = None,
    loss: torch.Tensor | None = None,
) -> tuple[Replay, ...]:
    """Cut programs out of operations that end with the last one: as long a one as there is, and that one alone.

    What they start from is copied now, before the run overwrites it. Where the output is the gradient of a loss by a
    leaf, these are numbered, too.
    """
    needed = _needed(entries)
    weighted = _of_weights(entries)
    drafts = []
    while len(needed) > 1:
        replay = _replay(needed, output, name_of, weighted, leaf, loss)
        if replay is not None:
            drafts.append(replay)
            break
        needed = needed[_cut(needed) :]
    alone = _replay(entries[-1:], output, name_of, weighted)
    return (*drafts, *([] if alone is None else [alone]))


def _cut(entries: Sequence[RingEntry]) -> int:
    """Return how many operations to leave out, where what one of them read is lost: up to what overwrote it."""
    made: set[int] = set()
    for i, entry in enumerate(entries):
        for tensor, version in zip(entry.tensors, entry.versions, strict=True):
            if id(tensor) in made or _value_then(tensor, version, entries[i:]) is not None:
                continue
            writers = (j for j, e in enumerate(entries[:-1]) if address_of(tensor) in map(address_of, e.written))
            return max((j + 1 for j in writers if j >= i), default=max(i + 1, len(entries) // 2))
        made.update(map(id, (*entry.tensors, *entry.outputs())))
    return len(entries) // 2


def _needed(entries: Sequence[RingEntry]) -> list[RingEntry]:
    """Return the operations, the oldest first, from which the last one takes what it reads."""
    wanted: dict[int, int] = {}
    needed: list[RingEntry] = []
    numbers = 0
    for i, entry in enumerate(reversed(entries)):
        outputs = entry.outputs()
        addresses = {address_of(t) for t in outputs}
        is_wanted = addresses & set(wanted.values()) if entry.plan.writes else set(map(id, outputs)) & set(wanted)
        if i and not is_wanted:
            continue
        if i and not _can_repeat(entry):
            # What it gave is what the others start from.
            wanted = {number: address for number, address in wanted.items() if address not in addresses}
            continue
        numbers += sum(t.numel() for t in outputs)
        if i and (len(needed) >= MOST_OPERATIONS or numbers > MOST_NUMBERS):
            break
        needed.append(entry)
        wanted.update((id(t), address_of(t)) for t in entry.tensors)
    return needed[::-1]


def _can_repeat(entry: RingEntry) -> bool:
    is_of_torch = str(entry.function._schema.name).startswith("aten::")
    if any(map(is_leaf, entry.written)):
        return False  # a step of an optimizer: what it made is what this step starts from
    return is_of_torch and not entry.plan.is_random and not entry.plan.is_uninitialised


def _replay(
    entries: Sequence[RingEntry],
    output: torch.Tensor,
    name_of: Callable[[torch.Tensor], str],
    weighted: set[int],
    leaf: torch.Tensor | None = None,
    loss: torch.Tensor | None = None,
) -> Replay | None:
    numbers: dict[int, int] = {}
    leaves: dict[int, torch.Tensor] = {}
    addresses: dict[int, int] = {}
    of_weights: set[int] = set()
    names: dict[int, str] = {}
    operations: list[ReplayedOperation] = []
    weights: set[int] = set()

    def number_of(tensor: torch.Tensor) -> int:
        return numbers.setdefault(id(tensor), len(numbers))

    for i, entry in enumerate(entries):
        for tensor, version in zip(entry.tensors, entry.versions, strict=True):
            if id(tensor) in numbers:
                continue
            value = _value_then(tensor, version, entries[i:])
            if value is None:
                return None
            number = number_of(tensor)
            leaves[number] = value.detach().to("cpu", copy=True)
            addresses[number] = address_of(tensor)
            of_weights |= {number} if id(tensor) in weighted else set()
            own_name = name_of(tensor)
            names[number] = _identifier(own_name, number, names.values())
            weights |= {number} if own_name or is_leaf(tensor) else set()
        change = _numbered(number_of)
        arguments, options = mapped(entry, change)
        operations.append(_operation(entry, tuple(arguments), options, number_of))
    if id(output) not in numbers:
        return None
    expected = output.detach().to("cpu", copy=True)
    return Replay(
        leaves, names, tuple(operations), numbers[id(output)], expected, _writes_to_views(entries),
        leaf=numbers.get(id(leaf)), loss=numbers.get(id(loss)), addresses=addresses, of_weights=frozenset(of_weights),
        weights=frozenset(weights),
    )  # fmt: skip


def _of_weights(entries: Sequence[RingEntry]) -> set[int]:
    """Return the ids of tensors that autograd follows, or that were made of such."""
    known: set[int] = set()
    for entry in entries:
        read = {id(t) for t in entry.tensors if needs_gradient(t)}
        known |= read
        if known & set(map(id, entry.tensors)):
            known |= set(map(id, entry.outputs()))
    return known


def _operation(
    entry: RingEntry, arguments: tuple[Any, ...], options: dict[str, Any], number_of: Callable[[torch.Tensor], int]
) -> ReplayedOperation:
    outputs = entry.outputs()
    positions = None
    if not entry.plan.writes and not isinstance(entry.result, torch.Tensor):
        positions = tuple(i for i, t in enumerate(entry.result) if isinstance(t, torch.Tensor))
    return ReplayedOperation(
        function=entry.function,
        arguments=arguments,
        options=options,
        outputs=tuple(number_of(t) for t in outputs),
        dtypes=tuple(t.dtype for t in outputs),
        numbers=sum(t.numel() for t in outputs),
        products=products_of(entry.plan.name, entry.tensors, outputs),
        positions=positions,
        plan=entry.plan,
        call_site=entry.call_site,
        number=entry.number,
    )


def _writes_to_views(entries: Sequence[RingEntry]) -> bool:
    """Tell whether a write shows in another tensor, which copies would not share."""
    addresses: dict[int, set[int]] = {}
    for entry in entries:
        for t in (*entry.tensors, *entry.outputs()):
            addresses.setdefault(address_of(t), set()).add(id(t))
    return any(len(addresses[address_of(t)]) > 1 for entry in entries for t in entry.written)


def _numbered(number_of: Callable[[torch.Tensor], int]) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return TensorNumber(number_of(value))
        return torch.device("cpu") if isinstance(value, torch.device) else value

    return change


def _changed(values: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(values, dict):
        return {k: _changed(v, change) for k, v in values.items()}
    return [_changed(v, change) for v in values] if isinstance(values, (list, tuple)) else change(values)


def _value_then(tensor: torch.Tensor, version: int, entries: Sequence[RingEntry]) -> torch.Tensor | None:
    """Return what a tensor held before an operation; None where that was overwritten, and is lost."""
    address = address_of(tensor)
    for entry in entries:
        written = entry.written
        if id(tensor) in map(id, written):
            kept = (entry.before or {}).get(id(tensor))
            return kept if isinstance(kept, torch.Tensor) else None
        if any(address_of(t) == address for t in written):
            return None
    return tensor if tensor.is_inference() or tensor._version == version else None


def _identifier(name: str, number: int, taken: Any) -> str:
    """Make a name fit for Python and free."""
    name = re.sub(r"\W", "_", name)
    return name if name.isidentifier() and name not in taken else f"x{number}"
