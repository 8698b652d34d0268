"""What a shell is offered when the tab key is pressed.

Each function is the `autocompletion` of an option or an argument, and imports what it asks only then.
"""

from __future__ import annotations

from pathlib import Path

from stablemax.cli.typed_line import functions_of
from stablemax.operations import NAMES as OPERATIONS
from stablemax.text.outcomes import Grade


def targets(incomplete: str) -> list[str]:
    """Offer files of Python code, the functions of one, and the variants of an operation whose name has begun."""
    file, colon, begun = incomplete.rpartition(":")
    if colon:
        return [f"{file}:{name}" for name in functions_of(file, begun)]
    from stablemax.text.python_files import ENDINGS

    operation = incomplete.partition("/")[0]
    ids = variants() if operation and any(name.startswith(operation) for name in OPERATIONS) else []
    files = [path for path in _files(incomplete) if path.startswith(incomplete)]
    if len(files) == 1 and not ids and files[0].endswith(ENDINGS):
        # A shell puts a space behind the only answer, and the function has to follow at once.
        return [f"{files[0]}:{name}" for name in functions_of(files[0], "")]
    return [*files, *(one for one in ids if "/" in one)]


def _files(incomplete: str) -> list[str]:
    """Name the files and folders that a path has begun to name, as far as they may hold code."""
    from stablemax.text.python_files import ENDINGS

    folder, _, _ = incomplete.rpartition("/")
    place = Path(folder or ("/" if incomplete.startswith("/") else ".")).expanduser()
    before = incomplete[: len(folder) + 1] if "/" in incomplete else ""
    try:
        entries = sorted(place.iterdir())
    except OSError:
        return []
    shown = [e for e in entries if not e.name.startswith(".") or incomplete.removeprefix(before).startswith(".")]
    return [f"{before}{e.name}{'/' if e.is_dir() else ''}" for e in shown if e.is_dir() or e.name.endswith(ENDINGS)]


def variants() -> list[str]:
    """Offer the ids of the variants, and their names within an operation."""
    from stablemax.operations.variant import variants as all_variants

    ids = [variant.id for variant in all_variants(None)]
    return [*ids, *dict.fromkeys(one.partition("/")[2] for one in ids)]


def hazards() -> list[str]:
    """Offer the hazards."""
    from stablemax.hazards.catalogue import HAZARDS

    return list(HAZARDS)


def presets() -> list[str]:
    """Offer the notebooks' inputs."""
    from stablemax.hazards.presets import PRESETS

    return list(PRESETS)


def number_formats() -> list[str]:
    """Offer the number formats, but for those that nobody has a short name for."""
    from stablemax.numerics.format_names import ALIASES, ORDINARY

    return [*dict.fromkeys((*ORDINARY, *ALIASES.values()))]


def libraries() -> list[str]:
    """Offer what --peer takes."""
    from stablemax.libraries import peers

    return [*peers(), "all"]


def grades() -> list[str]:
    """Offer the grades that may be asked for."""
    return [grade.value for grade in Grade if grade.is_sound]
