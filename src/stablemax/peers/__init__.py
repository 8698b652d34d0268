"""Other libraries: their built-ins as variants, their arrays as a backend; imported only when asked for."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from dataclasses import replace
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError, shown
from stablemax.operations import NAMES
from stablemax.operations.variant import Variant, get

if TYPE_CHECKING:
    from collections.abc import Iterable

PEERS: dict[str, tuple[str, ...]] = {"torch": ("torch",), "jax": ("jax", "optax"), "scipy": ("scipy",)}
"""What an extra installs: the library that it is named after, and those that may come with it."""

LIBRARIES = tuple(library for libraries in PEERS.values() for library in libraries)
"""First part of the ids of built-ins; each has a module of its name here."""

BACKENDS = ("torch", "jax")
"""Libraries on whose arrays our variants run."""


def is_installed(library: str) -> bool:
    """Tell whether a library can be imported, without importing it."""
    return importlib.util.find_spec(library) is not None


def require(library: str) -> None:
    """Refuse to go on without a library."""
    if not is_installed(library):
        extra = next((extra for extra, libraries in PEERS.items() if library in libraries), "all")
        raise StablemaxError(f"{library} is not installed", f'pip install "stablemax[{extra}]"')


def version(library: str) -> str:
    """Return the version of an installed library.

    >>> version("numpy") == np.__version__
    True
    """
    from importlib.metadata import version as of

    return of(library)


def built_ins(library: str, device: str | None = None) -> tuple[Variant, ...]:
    """Return the built-ins of a library, by operation."""
    require(library)
    module = importlib.import_module(f"stablemax.peers.{library}")
    found = sorted(
        (v for v in vars(module).values() if isinstance(v, Variant) and v.library == library),
        key=lambda v: NAMES.index(v.operation.name),
    )
    if device is None:
        return tuple(found)
    check_device(library, device)
    return tuple(_on(device, v) for v in found)


def _on(device: str, built_in: Variant) -> Variant:
    """Bind a built-in to a device."""

    def bound(function: Any) -> Any:
        return update_wrapper(partial(function, device=device), function)

    mean = None if built_in.mean is None else bound(built_in.mean)
    return replace(built_in, function=bound(built_in.function), mean=mean)


def check_device(library: str, device: str) -> None:
    """Put a number onto a device of a library and take it back."""
    from stablemax.peers.calling import quiet

    module = importlib.import_module(f"stablemax.peers.{library}")
    try:
        with quiet(), module.ARRAYS.running():
            module.ARRAYS.back(module.ARRAYS.put(np.ones(1, dtype=np.float32), device))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise StablemaxError(
            f"{library} has no device {shown(device)!r} here: {shown(why, 160)}", "--device cpu, or leave it out"
        ) from None


def chosen(peers: Iterable[str], device: str | None = None) -> tuple[tuple[Variant, ...], tuple[str, ...]]:
    """Gather the built-ins of some peers.

    >>> chosen(())
    ((), ())
    """
    peers = tuple(dict.fromkeys(peers))
    wanted = tuple(PEERS) if "all" in peers else peers
    notes: list[str] = []
    found: list[Variant] = []
    for peer in wanted:
        for library in PEERS[peer]:
            by_name = library == peer and "all" not in peers
            if is_installed(library) or by_name:
                found += built_ins(library, None if library == "scipy" and "all" in peers else device)
            else:
                notes.append(f'{library} is not installed and left out; pip install "stablemax[{peer}]"')
    if peers and not found:
        raise StablemaxError("none of torch, jax and scipy is installed", 'pip install "stablemax[all]"')
    return tuple(found), tuple(notes)


def find(variant_id: str, device: str | None = None) -> Variant:
    """Look up a variant or a built-in by its id.

    >>> find("softmax/shifted").id
    'softmax/shifted'
    """
    library = variant_id.partition("/")[0]
    if library not in LIBRARIES:
        return get(variant_id)
    known = {v.id: v for v in built_ins(library, device)}
    if variant_id in known:
        return known[variant_id]
    near = difflib.get_close_matches(variant_id, known, n=1)
    raise StablemaxError(
        f"there is no built-in {shown(variant_id)!r}",
        f"did you mean {near[0]}?" if near else f"one of: {', '.join(known)}",
    )
