"""The rooms of the package: what may import what, and what an import may cost."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stablemax
from stablemax.operations import NAMES, get_operation
from stablemax.operations.operation import Operation
from stablemax.operations.variant import Variant

from .counts import long_functions, root_modules, shared_names

PACKAGE = Path(stablemax.__file__).parent
# Lowest first: a module imports only from its own room and from rooms before it.
ROOMS = (
    ("text",),
    ("results",),
    ("numerics",),
    ("operations",),
    ("inputs",),
    ("hazards",),
    ("libraries",),
    ("truth",),
    ("kernels",),
    ("compute",),  # it proves the few results that the kernels leave in doubt
    ("glossary",),
    ("trace",),
    ("watching",),  # it traces the last operations of a run again
    ("comparing", "inspect", "check"),
    ("sweeping",),  # it judges somebody's code as check does
    ("tolerances",),
    ("explaining",),
    ("lessons",),  # they grade exercises with the check
    ("reporting",),  # it gathers what the other workflows return
    ("api",),
    ("bench",),  # it times what people call: the functions of the api
    ("render",),
    ("plugins",),
    ("testing",),
    ("cli",),
    ("__init__", "__main__"),
)
RANK = {name: rank for rank, room in enumerate(ROOMS) for name in room}
# A foreign package and the rooms that may know it.
CONFINED = {
    "typer": {"cli"},
    "click": set[str](),
    "rich": {"render", "cli"},
    "jax": {"libraries", "trace"},
    "torch": {"libraries", "trace", "watching", "lessons"},  # lessons show code of PyTorch's
    "optax": {"libraries"},
    "scipy": {"libraries"},
    "array_api_compat": {"libraries"},
    "dask": {"compute"},
    "distributed": {"compute"},
    "fsspec": {"inputs"},
    "aiohttp": {"inputs"},
    "pyarrow": {"inputs"},
}
MOST_ROOT_MODULES = 6
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def names_in(tree: ast.Module, package: tuple[str, ...]) -> list[str]:
    """Dotted names of every import in a module of a package, wherever it stands."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # `from stablemax import api` names a module; `from stablemax.api import compare` does not.
            names += [f"{stem}.{alias.name}" for alias in node.names] if stem == "stablemax" else [stem]
    return names


def imports_of(path: Path) -> list[str]:
    """Dotted names of every import in a file."""
    package = ("stablemax", *path.relative_to(PACKAGE).parent.parts)
    return names_in(ast.parse(path.read_text(encoding="utf-8"), str(path)), package)


def module_name(path: Path) -> str:
    return ".".join(("stablemax", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def run_time_imports(path: Path) -> set[str]:
    """Modules that an import of this one imports: not those within functions, nor for types alone."""
    names: set[str] = set()
    known = set(map(module_name, MODULES))
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from stablemax.trace import blame` needs the module `blame`; Python imports its package anyhow.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner if inner <= known else {node.module}
    return names & known - {module_name(path)}


def ids(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_module_imports_only_from_its_own_room_and_the_rooms_before_it(path: Path) -> None:
    own = room_of(path)
    assert own in RANK, f"{own} has no place in the order of rooms"
    for name in imports_of(path):
        top, _, rest = name.partition(".")
        if top == "stablemax" and rest != "__version__":
            other = rest.partition(".")[0] or "__init__"
            target = other if other in RANK else "__init__"
            assert RANK[target] <= RANK[own], f"{own} imports {name}, which comes after it"


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_a_foreign_package_is_imported_only_in_its_rooms(path: Path) -> None:
    for name in imports_of(path):
        top = name.partition(".")[0]
        assert room_of(path) in CONFINED.get(top, {room_of(path)}), f"{name} in {ids(path)}"


def test_every_room_is_listed_once() -> None:
    names = [name for room in ROOMS for name in room]
    assert len(names) == len(set(names))
    assert len(MODULES) > 15, "the package was not found"


def test_the_import_reader_sees_every_way_of_importing() -> None:
    source = (
        "import rich.table\nfrom stablemax import api\nfrom stablemax.truth.balls import truth\n"
        "def f():\n    from .truth import balls\n    from . import testing\n    import typer as t\n"
    )
    assert names_in(ast.parse(source), ("stablemax",)) == [
        "rich.table",
        "stablemax.api",
        "stablemax.truth.balls",
        "stablemax.truth",
        "stablemax.testing",
        "typer",
    ]
    assert names_in(ast.parse("from ..text import words"), ("stablemax", "inputs")) == ["stablemax.text"]


def test_few_modules_lie_outside_the_rooms() -> None:
    assert len(root_modules(MODULES)) <= MOST_ROOT_MODULES


def test_no_two_modules_share_a_name() -> None:
    assert shared_names(MODULES) == {}


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    assert long_functions(path.read_text(encoding="utf-8")) == []


@pytest.mark.slow
def test_formats_are_compared_and_not_their_objects() -> None:
    # One that came from another process is equal, and another object.
    named = re.compile(r"\bis (not )?(BFLOAT16|FLOAT\d+\w*)\b")
    assert not [str(path) for path in MODULES if named.search(path.read_text(encoding="utf-8"))]


def test_modules_import_each_other_in_no_circle() -> None:
    imports = {module_name(path): run_time_imports(path) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for other in imports.get(module, ()):
                visit(other, (*above, module))
            done.add(module)

    for module in imports:
        visit(module, ())


def test_importing_the_package_loads_neither_numpy_nor_rich() -> None:
    heavy = {"numpy", "rich", "typer", "flint", "ml_dtypes"}
    done = run(f"import sys, stablemax; print(sorted({heavy!r} & set(sys.modules)))")
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"


def test_declaring_every_command_loads_neither_numpy_nor_rich() -> None:
    done = run("import sys; from stablemax.cli.app import build; build(); print({'numpy', 'rich'} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.slow
def test_importing_every_module_prints_nothing() -> None:
    names = [
        ".".join(("stablemax", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for path in MODULES
        # Libraries need packages that need not be here, and __main__ is the program.
        if room_of(path) not in ("libraries", "__main__") and not {"torch", "jax"} & set(path.parts)
    ]
    done = run(f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_one_file_with_its_record_and_declared_functions(name: str) -> None:
    tree = ast.parse((PACKAGE / "operations" / f"{name}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert functions
    assert not [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert all(
        f.decorator_list and ast.unparse(f.decorator_list[0]).startswith("variant(OPERATION, ") for f in functions
    )
    assert get_operation(name).name == name
    assert Variant.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert Operation.__dataclass_params__.frozen  # type: ignore[attr-defined]
