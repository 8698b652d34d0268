"""What a watched run is asked for, also as text that a program inherits by its environment."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from stablemax.text.errors import StablemaxError, shown
from stablemax.text.words import either

ENVIRONMENT = "STABLEMAX_WATCH"
"""The variable that holds the options of the run that a process belongs to."""
REPRO = "stablemax-repro"


class WatchedKind(enum.StrEnum):
    """What is looked for: an infinity made of numbers, a NaN, a number that became 0."""

    OVERFLOW = "overflow"
    NAN = "nan"
    LOST = "lost"


USUAL = (WatchedKind.OVERFLOW, WatchedKind.NAN)


@dataclass(frozen=True)
class WatchOptions:
    """What is looked for, in which steps, and where files that show it are put."""

    on: tuple[WatchedKind, ...] = USUAL
    #: Steps watched: each of so many, from that of a number on.
    every: int = 1
    from_step: int = 1
    #: The folder for files that show what was found; empty for none.
    repro: str = REPRO

    def __post_init__(self) -> None:
        for name, value in (("--every", self.every), ("--from-step", self.from_step)):
            if value < 1:
                raise StablemaxError(f"{name}: {value} is below 1", "steps are counted from 1")

    @property
    def watches_all(self) -> bool:
        """True where no step goes unwatched."""
        return self.every == self.from_step == 1

    def watches(self, step: int) -> bool:
        """Tell whether a step, counted from 1, is watched.

        >>> [step for step in range(1, 12) if WatchOptions(every=3, from_step=4).watches(step)]
        [4, 7, 10]
        """
        return step >= self.from_step and (step - self.from_step) % self.every == 0


def kinds_named(words: str | Iterable[str]) -> tuple[WatchedKind, ...]:
    """Look up what is looked for: names, or one text with commas between them.

    >>> [str(kind) for kind in kinds_named("nan,lost")]
    ['nan', 'lost']
    """
    names = words.split(",") if isinstance(words, str) else list(words)
    names = [name.strip() for name in names if name.strip()]
    unknown = [name for name in names if name not in set(WatchedKind)]
    if unknown or not names:
        what = f"there is no {shown(unknown[0])!r}" if unknown else "nothing is named"
        raise StablemaxError(f"--on: {what}", f"name {either(list(WatchedKind))}, with commas between them")
    return tuple(dict.fromkeys(map(WatchedKind, names)))


@dataclass(frozen=True)
class WatchedRun:
    """What a process of a watched program is told: the options, and the folder that it reports to."""

    options: WatchOptions
    folder: str

    def as_text(self) -> str:
        """Write it for the environment of the program."""
        return json.dumps({"folder": self.folder, **asdict(self.options)})


def run_from_text(text: str) -> WatchedRun:
    """Read what `WatchedRun.as_text` wrote.

    >>> run = WatchedRun(WatchOptions(every=5), "reports")
    >>> run_from_text(run.as_text()) == run
    True
    """
    given: dict[str, Any] = json.loads(text)
    folder = given.pop("folder")
    return WatchedRun(WatchOptions(**{**given, "on": kinds_named(given["on"])}), folder)
