"""The command line: parse, run, render; each command in a file of its own."""

from stablemax import __version__


def version_line() -> str:
    """Return what --version prints."""
    return f"stablemax {__version__}"


class ReaderGoneError(Exception):
    """Nobody reads standard output any more.

    Not an OSError: Typer catches those of a broken pipe itself, and exits with 1.
    """
