"""What ``stablemax --version`` prints; with --verbose what belongs into a report of a bug.

No library is imported for it: their metadata tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stablemax.cli import version_line

REQUIRED = ("numpy", "ml-dtypes", "python-flint", "rich", "typer")
OPTIONAL = (
    *("torch", "jax", "jaxlib", "optax", "scipy", "array-api-compat", "pyarrow", "fsspec", "dask", "distributed"),
    *("matplotlib", "safetensors", "numba"),
)
"""Packages that decide on a result, or that code under test is written with."""

_VERSION = frozenset({"--version", "-V"})
_VERBOSE = frozenset({"--verbose", "-v"})
_BOTH = frozenset({"-Vv", "-vV"})


def version_text(arguments: Sequence[str]) -> str | None:
    """Return what is printed where the arguments ask for a version and for nothing else; else None.

    >>> version_text(["--verbose"]), version_text(["-V", "compare"])
    (None, None)
    """
    given = frozenset(arguments)
    if not given & (_VERSION | _BOTH) or given - _VERSION - _VERBOSE - _BOTH:
        return None
    lines = [version_line(), *(_details() if given & (_VERBOSE | _BOTH) else ())]
    return "".join(f"{line}\n" for line in lines)


def _details() -> Iterator[str]:
    import platform

    from stablemax.text.processor import available_threads, processor_name, vector_extensions

    facts = {
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "processor": processor_name(),
        "instructions": ", ".join(vector_extensions()) or "not known",
        "cores": str(available_threads()),
        **{name: _version_of(name) or "not installed" for name in REQUIRED},
    }
    optional = {name: _version_of(name) for name in OPTIONAL}
    facts |= {name: version for name, version in optional.items() if version}
    facts["not installed"] = ", ".join(name for name, version in optional.items() if not version) or "none"
    facts["plugins"] = ", ".join(_plugins()) or "none"
    width = max(map(len, facts))
    return (f"{name:<{width}}  {value}" for name, value in facts.items())


def _version_of(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _plugins() -> list[str]:
    """Name the plugins that are installed, with what they come from; none is imported."""
    from importlib.metadata import entry_points

    from stablemax.text.registry import GROUP

    return [f"{p.name} ({p.dist.name} {p.dist.version})" if p.dist else p.name for p in entry_points(group=GROUP)]
