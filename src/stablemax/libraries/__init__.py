"""Other libraries: their built-ins as variants, their arrays as a backend; imported only when asked for."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from typing import Any

import numpy as np

from stablemax.operations import operation_names
from stablemax.operations.variant import Variant, get
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.machine_limits import check_threads
from stablemax.text.processor import available_threads
from stablemax.text.registry import Registry
from stablemax.text.suggest import suggest
from stablemax.text.words import listed


@dataclass(frozen=True)
class Library:
    """A library whose built-ins are judged beside our variants.

    Parameters
    ----------
    name : str
        The name that it is imported by, and the first part of the ids of its built-ins.
    module : str
        The module that declares its built-ins, as variants with this library; imported only when asked for.
        An optional `ARRAYS` there tells how NumPy arrays get into the library and back, `TIMING` how it is timed.
    install : str
        What to type where it is not installed.
    peer : str
        The library that it comes with: --peer jax brings optax. Empty for one of its own.
    takes_devices : bool
        Whether --device is for it.
    """

    name: str
    module: str
    install: str
    peer: str = ""
    takes_devices: bool = True


def _ours(name: str, peer: str = "", *, takes_devices: bool = True) -> Library:
    install = f'pip install "stablemax[{peer or name}]"'
    return Library(name, f"{__name__}.{name}", install, peer, takes_devices)


LIBRARIES: Registry[Library] = Registry(
    Library, (_ours("torch"), _ours("jax"), _ours("optax", "jax"), _ours("scipy", takes_devices=False))
)
"""Every library by its name."""


def peers() -> dict[str, tuple[Library, ...]]:
    """Return what --peer takes, each with the libraries that come with it."""
    own = [library for library in LIBRARIES.values() if not library.peer]
    return {one.name: (one, *(other for other in LIBRARIES.values() if other.peer == one.name)) for one in own}


def is_installed(library: str) -> bool:
    """Tell whether a library can be imported, without importing it."""
    return importlib.util.find_spec(library) is not None


def require(library: str) -> None:
    """Refuse to go on without a library."""
    if not is_installed(library):
        hint = LIBRARIES[library].install if library in LIBRARIES else 'pip install "stablemax[all]"'
        raise StablemaxError(f"{library} is not installed", hint)


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
    # Where OpenMP cannot start its threads it ends the program, as if a check had failed.
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    check_threads((int(asked) if asked.isdecimal() else available_threads()) - 1)
    module = importlib.import_module(LIBRARIES[library].module)
    names = operation_names()
    declared = sorted(
        (v for v in vars(module).values() if isinstance(v, Variant) and v.library == library),
        key=lambda v: names.index(v.operation.name),
    )
    if device is None:
        return tuple(declared)
    check_device(library, device)
    return tuple(_on(device, v) for v in declared)


def _on(device: str, built_in: Variant) -> Variant:
    """Bind a built-in to a device."""

    def bound(function: Any) -> Any:
        return update_wrapper(partial(function, device=device), function)

    mean = None if built_in.mean is None else bound(built_in.mean)
    return replace(built_in, function=bound(built_in.function), mean=mean)


def check_device(library: str, device: str) -> None:
    """Put a number onto a device of a library and take it back."""
    from stablemax.libraries.declaration import quiet

    module = importlib.import_module(LIBRARIES[library].module)
    try:
        with quiet(), module.ARRAYS.running():
            module.ARRAYS.back(module.ARRAYS.put(np.ones(1, dtype=np.float32), device))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise StablemaxError(
            f"{library} has no device {shown(device)!r} here: {shown(why, 160)}", "--device cpu, or leave it out"
        ) from None


def chosen(asked: Iterable[str], device: str | None = None) -> tuple[tuple[Variant, ...], tuple[str, ...]]:
    """Gather the built-ins of some peers.

    >>> chosen(())
    ((), ())
    """
    asked = tuple(dict.fromkeys(asked))
    if not asked:
        return (), ()
    known = peers()
    notes: list[str] = []
    gathered: list[Variant] = []
    for peer in known if "all" in asked else asked:
        if peer not in known:
            hint = suggest(peer, known, f"one of: {', '.join((*known, 'all'))}")
            raise StablemaxError(f"--peer: there is no library {shown(peer)!r}", hint)
        for library in known[peer]:
            if is_installed(library.name) or (library.name == peer and "all" not in asked):
                ignores_device = "all" in asked and not library.takes_devices
                gathered += built_ins(library.name, None if ignores_device else device)
            else:
                notes.append(f"{library.name} is not installed and left out; {library.install}")
    if not gathered:
        raise StablemaxError(f"none of {listed(list(known))} is installed", 'pip install "stablemax[all]"')
    return tuple(gathered), tuple(notes)


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
    hint = suggest(variant_id, known) or f"one of: {', '.join(known)}"
    raise StablemaxError(f"there is no built-in {shown(variant_id)!r}", hint)
