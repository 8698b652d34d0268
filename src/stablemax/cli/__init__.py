"""The command line: parse, run, render; each command in a file of its own."""

from stablemax import __version__


def version_line() -> str:
    """Return what --version prints."""
    return f"stablemax {__version__}"
