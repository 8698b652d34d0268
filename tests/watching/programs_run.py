"""Programs of the folders beside this file, run in this process, watched or not."""

from __future__ import annotations

import functools
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemax.watching.torch.watcher import Watcher
from stablemax.watching.watch_options import WatchOptions

if TYPE_CHECKING:
    from stablemax.results import Watched

HERE = Path(__file__).parent
FAULTY = sorted((HERE / "programs").glob("*.py"))
SOUND = sorted((HERE / "sound").glob("*.py"))


def names(path: Path) -> str:
    return path.stem


def marked(path: Path, word: str) -> int:
    """The number of the line whose comment has a word; 0 where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((i for i, line in enumerate(lines, 1) if re.search(rf"# .*\b{word}\b", line)), 0)


def run(path: Path) -> dict[str, Any]:
    """Run a program as it is, and return its variables."""
    variables: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), variables)
    return variables


def watched(path: Path, **options: Any) -> Watched:
    return _watched(path, **options) if options else _watched_once(path)


@functools.cache
def _watched_once(path: Path) -> Watched:
    return _watched(path)


def _watched(path: Path, **options: Any) -> Watched:
    watcher = Watcher(WatchOptions(**{"repro": "", **options}))
    with watcher.watching():
        run(path)
    return watcher.result
