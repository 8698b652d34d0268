"""Imports what a TARGET names: ``package.module:function``, ``path/to/file.py:function``, or one of a notebook."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from stablemax.check.target.notebook import load_notebook
from stablemax.check.target.random_state import RandomNumbers, kept_random_numbers
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.python_files import ENDINGS, defined_names
from stablemax.text.suggest import nearest, suggest

if TYPE_CHECKING:
    from stablemax.check.target.messages import FurtherArgument

TARGET_HINT = (
    "TARGET is path/to/file.py:function (or .ipynb), package.module:function, or a variant: stablemax list variants"
)


class Code(NamedTuple):
    """A function, and how it is written once its module's first name is imported: ``Loss().forward``."""

    function: Callable[..., Any]
    expression: str
    #: The backward pass of an autograd Function: autograd calls it.
    is_autograd_backward: bool = False
    #: Names of further arguments that its class was made with.
    made_with: tuple[str, ...] = ()
    #: Its object drew random numbers when it was made, as the weights of a layer.
    is_made_at_random: bool = False


def is_code(target: str) -> bool:
    """Tell code to load from the id of a variant or a peer.

    >>> is_code("model.py:softmax"), is_code("torch.nn.functional:softmax"), is_code("softmax/naive")
    (True, True, False)
    """
    return ":" in target or target.endswith(ENDINGS)


def load(target: str, further: tuple[FurtherArgument, ...] = (), seed: int = 0) -> Code:
    """Import the function that a target names.

    The function may be an attribute of a class (``Loss.forward``), or a class that is made, with those of the further
    arguments that it takes, and called; what is written with parentheses, ``Model().encode`` or ``made().encode``, is
    made in the same way, with random numbers that begin at a seed. The class of an autograd Function stands for its
    ``apply``. Code that does not run is an error with the line at which it stopped.
    """
    module, colon, name = target.rpartition(":")
    if not colon or (not name and module):
        file = target.rstrip(":")
        if file.endswith(ENDINGS):
            _check_file(file)
        raise StablemaxError(f"{shown(file)}: which function?", _known_functions(file))
    value: Any = _from_file(module) if _is_file(module) else _from_name(module)
    making = _Making(target, further, seed)
    expression = ""
    for part in name.split("."):
        attribute = part.removesuffix("()")
        if not hasattr(value, attribute):
            raise _no_such(module, name, attribute, value)
        if _is_autograd_function(value):
            return Code(value.apply, f"{expression}.apply", is_autograd_backward=attribute == "backward")
        if inspect.isclass(value) and inspect.isfunction(inspect.getattr_static(value, attribute)):
            value, expression = making.instance(value, expression)
        value = getattr(value, attribute)
        expression = f"{expression}.{attribute}" if expression else attribute
        if part != attribute:
            value, expression = making.instance(value, expression)
    if _is_autograd_function(value):
        return Code(value.apply, f"{expression}.apply")
    if inspect.isclass(value):
        value, expression = making.instance(value, expression)
    if not callable(value) and callable(getattr(value, "forward", None)):
        value, expression = value.forward, f"{expression}.forward"
    if not callable(value):
        kind = shown(type(value).__name__)
        raise StablemaxError(f"{shown(target)} is of type {kind}, which cannot be called", TARGET_HINT)
    return Code(value, expression, made_with=tuple(making.made_with), is_made_at_random=making.is_random)


class _Making:
    """Makes the objects on the way to a function, with those of the further arguments that their classes take."""

    def __init__(self, target: str, further: tuple[FurtherArgument, ...], seed: int) -> None:
        self._target = target
        self._further = further
        self._seed = seed
        self.made_with: list[str] = []
        self.is_random = False

    def instance(self, maker: Callable[..., Any], expression: str) -> tuple[Any, str]:
        """Make an object of a class, or by a function, and write how that is done."""
        try:
            known = [p.name for p in inspect.signature(maker).parameters.values() if p.kind is not p.VAR_KEYWORD]
        except (ValueError, TypeError):
            known = []
        passed = [argument for argument in self._further if argument.name in known]
        self.made_with += [argument.name for argument in passed]
        text = ", ".join(f"{argument.name}={argument.text}" for argument in passed)
        with kept_random_numbers():
            numbers = RandomNumbers()
            numbers.seed(self._seed)
            try:
                made = maker(**{argument.name: argument.value for argument in passed})
            except TypeError as error:
                raise StablemaxError(
                    f"{shown(self._target)} cannot be made without arguments: {shown(error)}",
                    "give them: --arg NAME=VALUE; or name a function that makes it and calls it",
                ) from None
            self.is_random = self.is_random or numbers.are_drawn_since(self._seed)
        return made, f"{expression}({text})"


def _is_file(module: str) -> bool:
    return module.endswith(ENDINGS) or "/" in module or "\\" in module


def _is_autograd_function(value: Any) -> bool:
    """True for the class of an autograd Function, which nobody calls: autograd runs its `forward` and `backward`."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and inspect.isclass(value) and issubclass(value, torch.autograd.Function)


def module_and_name(function: Any) -> tuple[str, str]:
    """Return the module that a function at hand can be imported from, and its name; no module for a local one."""
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", None) or ""
    value: Any = sys.modules.get(module)
    for attribute in name.split("."):
        value = getattr(value, attribute, None)
    if value is function and module != "__main__":
        return module, name
    last_name = name.rpartition(".")[2]
    return "", last_name if last_name.isidentifier() else "function"


def _check_file(file: str) -> None:
    """Refuse a file that is not there, and what never ends or waits for a writer: a pipe, a device."""
    path = Path(file)
    if path.is_file():
        return
    if path.exists():
        raise StablemaxError(f"{shown(file)}: is not a regular file, so it holds no Python code", TARGET_HINT)
    near = nearest(path.name, [p.name for ending in ENDINGS for p in path.parent.glob(f"*{ending}")])
    hint = f"did you mean {shown(path.parent / near)}?" if near else TARGET_HINT
    raise StablemaxError(f"{shown(file)}: there is no such file", hint)


def _from_file(file: str) -> ModuleType:
    _check_file(file)
    path = Path(file)
    if path.suffix == ".ipynb":
        return load_notebook(path)
    # The modules beside the file are importable, as they are when it is run.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = path.stem if path.stem not in sys.modules else f"_stablemax_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StablemaxError(f"{shown(file)}: is not Python code", TARGET_HINT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _does_not_run(file, error) from None
    return module


def _from_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise StablemaxError(f"{shown(name)!r} is neither a module nor a file", TARGET_HINT)
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            hint = f"install it, or run from the folder that holds it; {TARGET_HINT}"
            raise StablemaxError(f"there is no module {shown(error.name)!r}", hint) from None
        raise _does_not_run(name, error) from None


def _does_not_run(module: str, error: BaseException) -> StablemaxError:
    """Word an error that the code raises when imported, with the last line of it that is not a library's."""
    line, text = (error.lineno, error.msg) if isinstance(error, SyntaxError) else (_last_line(error, module), error)
    position = f"{shown(module)}: line {line}" if line else shown(module)
    argument = module if module.endswith(".py") else f"-m {module}"
    hint = "give it more: --memory 64GB" if isinstance(error, MemoryError) else f"try: python {shown(argument)}"
    return StablemaxError(f"{position}: {type(error).__name__}: {shown(text, 200)}", hint)


def _last_line(error: BaseException, module: str) -> int | None:
    file_names = {Path(module).name, f"{module.rpartition('.')[2]}.py"}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name in file_names]
    return frames[-1].lineno if frames else None


def _no_such(module: str, name: str, attribute: str, owner: Any) -> StablemaxError:
    known = _functions(owner)
    hint = suggest(attribute, known) or f"there are: {', '.join(known[:20]) or 'none'}"
    return StablemaxError(f"{shown(module)} has no function {shown(name)!r}", hint)


def _functions(owner: Any) -> list[str]:
    own_name = getattr(owner, "__name__", None)
    if own_name is None:  # an object: the methods of its class, but for those of a library
        own_name, owner = type(owner).__module__, type(owner)
    return [
        name
        for name, value in vars(owner).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", own_name) == own_name
    ]


def _known_functions(file: str) -> str:
    """List what a file offers, without running it."""
    try:
        names = [name for name in defined_names(Path(file)) if name[0] != "_"]
    except (OSError, SyntaxError, UnicodeDecodeError):
        return TARGET_HINT
    return f"name one: {', '.join(f'{shown(file)}:{n}' for n in names[:10])}" if names else "it defines no function"
