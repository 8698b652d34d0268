"""The entry point: exceptions become exit codes here and nowhere else.

0: done; 1: the check that was asked for failed; 2: a mistake of the user's; 3: a mistake of ours;
130: interrupted; 141: nobody reads the output any more; 143: terminated; 129: the terminal was closed.
Where the machine allows no more files, threads or memory the code is 2: no mistake of ours.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn

from stablemax.cli import ReaderGoneError, printable, to_stderr
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.files import unwritten_output, write_out
from stablemax.text.machine_limits import check_threads, limit_reached
from stablemax.text.suggest import nearest

USER_ERROR = 2
INTERNAL_ERROR = 3
INTERRUPTED = 130
BY_SIGNAL = 128
"""Added to the number of the signal that ended the program, as shells do."""
BROKEN_PIPE = 141

NUMPY_BYTES = 128 << 20
"""Addresses that NumPy takes to be loaded, of which hardly any become memory."""

MESSAGE_LIMIT = 1800
_STANDARD_ERROR = 2


def main() -> NoReturn:
    """Run the command line and exit."""
    # The imports make a hundred thousand objects that live to the end; looking through them for
    # garbage at every 700th takes a tenth of the time of a short run.
    gc.set_threshold(100_000)
    sys.excepthook = _interrupt_during_imports
    sys.unraisablehook = _ended_in_a_callback
    # The default ends the program on the spot, and leaves temporary and half-written files behind.
    signal.signal(signal.SIGTERM, _terminated)
    # A terminal that closes; not where nohup has it ignored, nor on Windows, which has no such signal.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _terminated)
    try:
        code = _run()
    except KeyboardInterrupt:
        code = _interrupted()
    except EndedBySignal as ended:
        code = ended.exit_code
    _leave(code)


def _run() -> int:
    # Typer checks options with pydantic, which first reads the metadata of every installed package in
    # search of plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        _check_streams()
        # Loaded here: until the handlers of `main` are in place an interrupt may be lost.
        from stablemax.cli.typed_line import COMPLETION, functions_after_colon, typed_words
        from stablemax.cli.versions import version_text

        # Building the commands takes longer than everything else that a version needs.
        at_once = version_text(sys.argv[1:]) if COMPLETION not in os.environ else functions_after_colon(os.environ)
        if at_once is not None:
            write_out(at_once, flush=True)
            return 0
        _check_memory()
        from stablemax.cli.app import COMMANDS, build

        typed = sys.argv if COMPLETION not in os.environ else typed_words(os.environ)
        app = build([word for word in typed[1:2] if word in COMMANDS] or COMMANDS)
        with _plugin_warnings():
            code = app(standalone_mode=False, prog_name="stablemax")
        if code == INTERRUPTED:  # Typer makes an exit of an interrupt
            return _interrupted()
        write_out("", flush=True)
    except Exception as error:
        _end_if_signalled(error)
        return _told(error)
    return code if isinstance(code, int) else 0


def _end_if_signalled(error: BaseException) -> None:
    """Raise the signal that an error was made of.

    Python words whatever a class raises while it is made as a RuntimeError; a lock that an interrupt took away raises
    another when it is released.
    """
    context: BaseException | None = error
    while context is not None:
        if isinstance(context, (KeyboardInterrupt, EndedBySignal)):
            raise context
        context = context.__cause__ or context.__context__


def _told(error: Exception) -> int:
    """Tell what went wrong, and return the exit code."""
    if isinstance(error, StablemaxError):
        return _report(error.message, error.hint, USER_ERROR)
    if isinstance(error, (BrokenPipeError, ReaderGoneError)):
        return BROKEN_PIPE
    if isinstance(error, MemoryError):
        return _report("out of memory", "give fewer rows, or judge fewer with --judge N", USER_ERROR)
    return _other(error)


@contextlib.contextmanager
def _plugin_warnings() -> Iterator[None]:
    """Show a warning about a plugin as one line, without the place in our code that Python would name."""
    from stablemax.text.registry import PluginWarning

    with warnings.catch_warnings():
        # Once, and no error whatever -W says: nothing else may stop.
        warnings.simplefilter("default", PluginWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, PluginWarning):
                to_stderr(f"warning: {_bounded(str(message))}\n")
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _other(error: Exception) -> int:
    """Typer's own errors carry a message and an exit code; anything else is a bug of ours."""
    message = getattr(error, "format_message", None)
    if message is not None:
        if type(error).__name__ == "NoArgsIsHelpError":
            to_stderr(f"{message()}\n")
            return USER_ERROR
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "stablemax"
        return _report(_plain(message(), _given(error)), f"{command} --help", USER_ERROR)
    if type(error).__name__ == "Abort":
        return _interrupted()
    limit = limit_reached(error)
    if limit is not None:
        return _report(limit.message, limit.hint, USER_ERROR)
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{shown(error.filename)}: " if error.filename else ""
        # Without a name it is Typer, printing help.
        hint = "make room, or write elsewhere" if error.errno == errno.ENOSPC else ""
        return _report(f"{where}{error.strerror}", hint, USER_ERROR)
    if os.environ.get("STABLEMAX_DEBUG"):
        raise error
    _report(
        f"a bug in stablemax: {type(error).__name__}: {shown(error, 300)}",
        "please report it; STABLEMAX_DEBUG=1 shows where it happened",
        INTERNAL_ERROR,
    )
    return INTERNAL_ERROR


# What pydantic says beneath Typer, and what a person would.
_PLAIN_WORDS = (
    (r"Input should be a valid integer.*", "{!r} is not a whole number"),
    (r"Input should be a valid number.*", "{!r} is not a number"),
)


def _given(error: Exception) -> str:
    """Find what was typed for the option that an error is about."""
    names = getattr(getattr(error, "param", None), "opts", [])
    for before, after in itertools.pairwise(sys.argv):
        if before in names:
            return shown(after)
    attached = (a.partition("=")[2] for a in sys.argv if a.partition("=")[0] in names and "=" in a)
    return shown(next(attached, ""))


def _plain(message: str, given: str) -> str:
    """Fit a message of Typer's to ours: one line, no capital, no full stop, no library's jargon."""
    text = " ".join(message.split()).rstrip(".").replace("Value error, ", "")
    for pattern, words in _PLAIN_WORDS:
        if re.search(pattern, text):
            text = re.sub(pattern, "", text) + words.format(given)
    wrong = re.search(r"'([^']*)' is not one of (.+)$", text)
    if wrong:
        near = nearest(wrong[1], re.findall(r"'([^']*)'", wrong[2]))
        text += f". Did you mean '{near}'?" if near else ""
    return text[:1].lower() + text[1:]


def _report(message: str, hint: str, code: int) -> int:
    to_stderr(f"error: {_bounded(message)}\n" + (f"hint: {_bounded(hint)}\n" if hint else ""))
    return code


def _bounded(text: str) -> str:
    text = printable(text)
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]}..."


def _check_memory() -> None:
    """Refuse to load NumPy where it has not the memory: OpenBLAS would end the program as if a check had failed."""
    import mmap

    try:
        mmap.mmap(-1, NUMPY_BYTES).close()
    except OSError:
        raise StablemaxError(
            f"out of memory: NumPy takes {NUMPY_BYTES >> 20} MB", "allow more: ulimit -v unlimited, ulimit -d unlimited"
        ) from None


def _check_streams() -> None:
    """Refuse a closed standard output: printing nothing and exiting 0 is a false pass in CI."""
    if sys.stdout is None or sys.stdout.closed:
        raise SystemExit(_report("standard output is closed", "redirect it to a file or to /dev/null", USER_ERROR))
    # A file or a pipe that is opened takes the smallest number that is free: where standard input or error is
    # closed, it would get what others write there.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)


def _leave(code: int) -> NoReturn:
    """Exit without Python's own complaint about a pipe that broke while flushing."""
    lost = False
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        lost, code = True, BROKEN_PIPE
    except (OSError, ValueError) as error:
        lost = True
        unwritten = unwritten_output(error)
        code = code or _report(unwritten.message, unwritten.hint, USER_ERROR)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    if lost:
        # A normal exit would flush once more, complain, and exit with 120.
        os._exit(code)
    sys.exit(code)


class EndedBySignal(SystemExit):
    """A signal that ends the program; as an exit, so that no other code takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(BY_SIGNAL + number)
        self.exit_code = BY_SIGNAL + number


def _terminated(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - what a handler is called with
    raise EndedBySignal(number)


def _interrupted() -> int:
    """Return the exit code of an interrupt; OpenBLAS, too, interrupts a program where it cannot start its threads."""
    if "numpy" in sys.modules:
        return INTERRUPTED
    try:
        check_threads(1)
    except StablemaxError as error:
        hint = "allow more threads and memory: ulimit -u, -v and -d; or start fewer: OPENBLAS_NUM_THREADS=1"
        return _report(f"{error.message}, as NumPy does when it is loaded", hint, USER_ERROR)
    return INTERRUPTED


def _interrupt_during_imports(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        os._exit(_interrupted())
    sys.__excepthook__(kind, error, trace)


def _ended_in_a_callback(unraisable: sys.UnraisableHookArgs) -> None:
    # What ends the program would be printed and forgotten where it lands in a callback: of the import machinery, of a
    # weak reference, in `__del__`.
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        os._exit(_interrupted())
    if isinstance(unraisable.exc_value, EndedBySignal):
        os._exit(unraisable.exc_value.exit_code)
    sys.__unraisablehook__(unraisable)
