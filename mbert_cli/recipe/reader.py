"""Reading a recipe: YAML and key=value overrides, merged, checked as a whole, and frozen. No torch here."""

import os
import re
from collections.abc import Callable, Sequence
from itertools import product, takewhile
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mbert_cli.errors import RecipeError
from mbert_cli.messages import nearest, shown
from mbert_cli.recipe.document import Document, KeyPath, dotted
from mbert_cli.recipe.overrides import override
from mbert_cli.recipe.recipe_file import read_document, read_text
from mbert_cli.recipe.sections import (
    CardSection,
    Component,
    EncoderSection,
    Recipe,
    ReferenceSection,
    Section,
    ShapeSection,
    TaskSection,
    TrainingSection,
)
from mbert_cli.recipe.validation_message import validation_message
from mbert_cli.recipe.yaml_text import dump

ComponentCheck = Callable[[str, Component], list[tuple[KeyPath, str]]]
"""(family, component) to its problems: a path below the component, and what is wrong."""

_SectionType = TypeVar("_SectionType", bound=Section)


def load(path: Path, settings: Sequence[str], check: ComponentCheck) -> Recipe:
    """Read, merge and check a recipe.

    Args:
        path: the recipe file.
        settings: `key=value` overrides.
        check: tells what is wrong with a component's kind and options.

    Raises:
        RecipeError: with all problems found, each with its place.
    """
    document = read_document(path)
    override(document, settings)
    return validate(document, check)


def validate(document: Document, check: ComponentCheck) -> Recipe:
    """Check a document as a whole recipe; see `load`."""
    reader = Reader(document, check)
    values = document.values
    reader.known((), values, Recipe)
    found: dict[str, Any] = {
        "encoder": reader.encoder(),
        "adapters": reader.components("adapters"),
        "pooling": reader.component(("pooling",), "pooling", "mean"),
        "tasks": reader.tasks(),
        "loss_balancing": reader.component(("loss_balancing",), "loss_balancing", "total"),
        "curriculum": reader.component(("curriculum",), "curricula", "hybrid"),
        "training": reader.section(("training",), TrainingSection, default={}),
        "reference": reader.reference(),
        "card": reader.section(("card",), CardSection, default={}),
    }
    if reader.problems:
        raise RecipeError(*reader.problems)
    return Recipe.model_construct(document=document, **found)


def merged_text(path: Path) -> str:
    """Return a recipe as one file that may lie anywhere: what it extends is merged in, and its own comment kept.

    Files that it names relative to its own folder are named in full.

    Raises:
        RecipeError: it, or what it extends, cannot be read.
    """
    document = read_document(path)
    tasks = document.values.get("tasks")
    names = list(tasks) if isinstance(tasks, dict) else []
    for *above, key in (("encoder", "checkpoint"), *product(["tasks"], names, ["train", "dev", "test"])):
        section: Any = document.values
        for part in above:
            section = section.get(part) if isinstance(section, dict) else None
        text = section.get(key) if isinstance(section, dict) else None
        if isinstance(text, str) and not text.startswith(("~", "$")):
            file = document.place((*above, key)).folder / text
            section[key] = str(file) if os.path.exists(file) else text
    lines = read_text(path, str(path)).splitlines(keepends=True)
    return "".join(takewhile(lambda line: line.startswith("#"), lines)) + dump(document.values)


class Reader:
    """Reads sections out of a document and collects what is wrong with them in `problems`.

    Args:
        document: what is read.
        check: tells what is wrong with a component's kind and options.
    """

    def __init__(self, document: Document, check: ComponentCheck) -> None:
        self.document = document
        self.check = check
        self.problems: list[str] = []

    def problem(self, path: KeyPath, what: str) -> None:
        """Note what is wrong with a value: the end of a sentence that begins with its place and key."""
        self.problems.append(f"{self.document.place(path)}: {dotted(path) or 'the recipe'} {what}")

    def value(self, path: KeyPath) -> Any:
        """Return what the document holds at a path; None where it holds nothing."""
        value: Any = self.document.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, TypeError):
                return None
        return value

    def known(self, path: KeyPath, values: dict[str, Any], section: type[BaseModel]) -> None:
        """Check that a section knows all keys."""
        names = [name for name, info in section.model_fields.items() if not info.exclude]
        for key in values:
            if key not in names:
                self.problem((*path, key), f"is not a known key{nearest(key, names)}")

    def section(
        self, path: KeyPath, kind: type[_SectionType], default: Any = None, paths: Sequence[str] = (), **given: Any
    ) -> _SectionType | None:
        """Read one section; `given` holds fields that were read and checked already."""
        values = self.value(path)
        values = default if values is None else values
        if values is None:
            self.problem(path, f"is missing; it needs {_required(kind)}.")
            return None
        if not isinstance(values, dict):
            self.problem(path, f"must hold keys and values, but is {shown(values)}.")
            return None
        self.known(path, values, kind)
        fields = {key: value for key, value in {**values, **given}.items() if key in kind.model_fields}
        for key in paths:
            if isinstance(fields.get(key), str):
                fields[key] = self.resolved((*path, key), fields[key], key == "checkpoint")
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            for each in error.errors():
                self.problem((*path, *_location(each["loc"], fields)), validation_message(each))
            return None

    def encoder(self) -> EncoderSection | None:
        """Read the encoder, its sizes first."""
        path = ("encoder", "shape")
        shape = self.section(path, ShapeSection) if self.value(path) is not None else None
        return self.section(("encoder",), EncoderSection, paths=("checkpoint",), shape=shape)

    def reference(self) -> ReferenceSection | None:
        """Read the published scores; each must be of a task that the recipe has."""
        if self.value(("reference",)) is None:
            return None
        scores, tasks = self.value(("reference", "scores")), self.value(("tasks",))
        if isinstance(scores, dict) and isinstance(tasks, dict):
            for name in scores:
                if name not in tasks:
                    what = f"names no task of the recipe{nearest(name, list(tasks))}"
                    self.problem(("reference", "scores", name), f"{what} `reference: null` leaves all scores out.")
        return self.section(("reference",), ReferenceSection)

    def component(self, path: KeyPath, family: str, default: str | None = None) -> Component | None:
        """Read one component."""
        values = self.value(path)
        if values is None and default is not None:
            values = {"kind": default}
        if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
            self.problem(path, f"must name a kind, such as {{kind: {default or 'classification'}}}.")
            return None
        options = {key: value for key, value in values.items() if key != "kind"}
        places = {key: f"{self.document.place((*path, key))}: {dotted((*path, key))}" for key in options}
        place = f"{self.document.place(path)}: {dotted(path)}"
        component = Component(kind=values["kind"], options=options, place=place, places=places)
        found = self.check(family, component)
        for below, what in found:
            self.problem((*path, *below), what)
        return None if found else component

    def components(self, key: str) -> tuple[Component, ...]:
        """Read a list of components."""
        items = self.document.values.get(key) or []
        if not isinstance(items, list):
            self.problem((key,), "must be a list, such as [{kind: low_rank}, {kind: top}].")
            return ()
        found = [self.component((key, index), key) for index in range(len(items))]
        return tuple(component for component in found if component is not None)

    def tasks(self) -> dict[str, TaskSection] | None:
        """Read all tasks."""
        tasks = self.document.values.get("tasks")
        if not isinstance(tasks, dict) or not tasks:
            self.problem(("tasks",), "must hold at least one task: a name with train, dev, text, label and head.")
            return None
        found: dict[str, TaskSection | None] = {}
        for name, values in tasks.items():
            path = ("tasks", name)
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
                self.problem(path, "must be named with letters, digits, - and _ only, at most 64.")
            if isinstance(values, dict) and isinstance(values.get("text"), str):
                values["text"] = [values["text"]]
            head = self.component((*path, "head"), "heads") if isinstance(values, dict) else None
            # A head that is wrong was reported; the rest of its task is still checked.
            given = {"head": head or Component(kind="unknown")}
            found[name] = self.section(path, TaskSection, paths=("train", "dev", "test"), **given)
        good = {name: task for name, task in found.items() if task is not None}
        return good if len(good) == len(found) else None

    def resolved(self, path: KeyPath, text: str, checkpoint: bool) -> str:
        """Expand ${VARIABLES} in a path and make it absolute."""
        place = self.document.place(path)
        try:
            expanded = expand(text)
        except KeyError as error:
            self.problem(path, f"uses ${{{error.args[0]}}}, which is not set; set it, or write ${{NAME:-default}}.")
            return text
        if not expanded:
            self.problem(path, "is empty.")
            return text
        if expanded.startswith("hub:") and not checkpoint:
            return expanded  # a data set of the Hub
        # What a variable says is said at the shell, hence relative to the working folder.
        folder = Path.cwd() if text.startswith("${") else place.folder
        if "\0" in expanded:
            self.problem(path, f"is {shown(expanded)}, but no file's name holds a NUL character.")
            return text
        full = os.path.normpath(folder / os.path.expanduser(expanded))
        looks_like_path = not checkpoint or re.match(r"[./~]|\$\{", text) or os.path.isdir(full)
        found = full if looks_like_path and not (checkpoint and expanded.startswith("package:")) else expanded
        try:
            found.encode()
        except UnicodeEncodeError:
            self.problem(path, f"is {shown(found)}, which is not UTF-8; rename the file or the folder.")
        return found


def expand(text: str) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by environment variables.

    Raises:
        KeyError: a variable without a default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        found = os.environ.get(name) or default
        if found is None:
            raise KeyError(name)
        return found

    return re.sub(r"\$\{(?P<name>\w+)(:-(?P<default>[^}]*))?\}", value, text)


def _location(location: tuple[str | int, ...], fields: dict[str, Any]) -> KeyPath:
    """Cut a pydantic location to the part that is in the recipe; unions add names of their branches."""
    path: list[str | int] = []
    value: Any = fields
    for part in location:
        if isinstance(value, dict) and (part in value or not path):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            break
        path.append(part)
    return tuple(path)


def _required(kind: type[BaseModel]) -> str:
    return ", ".join(key for key, info in kind.model_fields.items() if info.is_required())
