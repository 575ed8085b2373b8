"""The layout of the package, and limits on the size of modules, classes, functions and constructors."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mbert_cli import commands as commands_package
from mbert_cli.commands.app import app

PACKAGE = Path(__file__).parents[1] / "mbert_cli"
MODULE_LINES, CLASS_LINES, FUNCTION_LINES, PARAMETERS = 350, 150, 60, 7
LONG_CLASS = f"Longer than {CLASS_LINES} lines because "
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_bytes()) for path in PACKAGE.rglob("*.py")}


def definitions(*kinds):
    """Return (module, qualified name, node) of every class or function of the package, nested ones included."""
    return [
        (module, name, node)
        for module, tree in TREES.items()
        for name, node in qualified(tree)
        if isinstance(node, kinds)
    ]


def qualified(tree, outer=""):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield outer + node.name, node
            yield from qualified(node, f"{outer}{node.name}.")
        else:
            yield from qualified(node, outer)


def lines(node):
    return node.end_lineno - node.lineno + 1


def body_lines(function):
    """Count the lines below a function's signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


def commands(typer_app):
    """Return (module, name) of the functions that are commands."""
    found = {
        (sys.modules[each.callback.__module__].__file__, each.callback.__name__)
        for each in typer_app.registered_commands
    }
    if typer_app.registered_callback:
        callback = typer_app.registered_callback.callback
        found.add((sys.modules[callback.__module__].__file__, callback.__name__))
    return found.union(*(commands(group.typer_instance) for group in typer_app.registered_groups))


COMMANDS = {(Path(file).relative_to(PACKAGE).as_posix(), name) for file, name in commands(app)}


def test_the_root_holds_only_the_modules_that_every_part_uses():
    shared = {"batch", "calibration", "metrics", "randomness", "errors", "messages"}
    assert {module.stem for module in PACKAGE.glob("*.py")} == {"__init__", "__main__", "cli"} | shared


def test_the_files_beside_the_commands_are_listed():
    files = {module.removeprefix("commands/") for module in TREES if module.startswith("commands/")} - {"__init__.py"}
    names = re.findall(r"^    (\S.*?)  +\S", commands_package.__doc__, re.MULTILINE)
    listed = {f"{name}.py" for each in names for name in each.split(", ")}
    assert files - {module.removeprefix("commands/") for module, _ in COMMANDS} == listed


def test_the_files_to_change_exist():
    lines = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    names = {name for line in lines if line.startswith("|") for name in re.findall(r"`([\w/]+(?:\.py|/))`", line)}
    assert {"metrics.py", "adapters/"} <= names
    assert [name for name in names if not (PACKAGE / name).exists()] == []


def test_no_module_is_too_long():
    longest = {module: len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) for module in TREES}
    assert {module: count for module, count in longest.items() if count > MODULE_LINES} == {}


def test_a_long_class_gives_the_reason_in_its_docstring():
    assert {
        f"{module}: {name}": lines(node)
        for module, name, node in definitions(ast.ClassDef)
        if lines(node) > CLASS_LINES and LONG_CLASS not in " ".join((ast.get_docstring(node) or "").split())
    } == {}


def test_no_function_is_too_long():
    assert COMMANDS
    counted = {
        f"{module}: {name}": body_lines(node) if (module, name) in COMMANDS else lines(node)
        for module, name, node in definitions(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in counted.items() if count > FUNCTION_LINES} == {}


MANY_PARAMETERS = {
    "training/state.py: TrainingState": "the position of a run, which is saved in state.json and loaded as a whole",
}


def test_no_constructor_has_too_many_parameters():
    """A frozen dataclass is a record, and may have any number of fields."""
    counted = {f"{module}: {name}": parameters(node) for module, name, node in definitions(ast.ClassDef)}
    assert {name for name, count in counted.items() if count > PARAMETERS} == set(MANY_PARAMETERS)


def parameters(node):
    """Count the parameters of a class's constructor, besides self."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            given = each.args
            return len([*given.posonlyargs, *given.args, *given.kwonlyargs]) - 1
    decorators = [ast.unparse(each) for each in node.decorator_list]
    if any(each.startswith("dataclass") and "frozen=True" not in each for each in decorators):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        return len([each for each in fields if each.value is None or "init=False" not in ast.unparse(each.value)])
    return 0


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("class A:\n  def __init__(self, a, /, b, *, c): ...", 3),
        ("@dataclass\nclass A:\n  a: int\n  b: int = 0\n  c: list = field(init=False)", 2),
        ("@dataclass(frozen=True)\nclass A:\n  a: int", 0),
        ("class A:\n  a: int", 0),
    ],
)
def test_parameters_are_counted(source, count):
    assert parameters(ast.parse(source).body[0]) == count


def test_the_body_of_a_command_is_counted_without_signature_and_docstring():
    (function,) = ast.parse('def f(\n  a,\n):\n  """Summary.\n\n  More.\n  """\n  a += 1\n  return a').body
    assert (lines(function), body_lines(function)) == (9, 2)


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "mbert_cli", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mbert ")
