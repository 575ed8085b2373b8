"""Reading a recipe: files and overrides are merged, checked as a whole, and frozen."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mbert_cli.errors import RecipeError
from mbert_cli.messages import nearest, shown
from mbert_cli.recipe.describing import CardSection, ReferenceSection
from mbert_cli.recipe.document import Document, KeyPath, dotted
from mbert_cli.recipe.folds import FoldSection
from mbert_cli.recipe.long_texts import WindowsSection
from mbert_cli.recipe.overrides import override
from mbert_cli.recipe.paths import resolve_checkpoint, resolve_path
from mbert_cli.recipe.recipe_file import read_document
from mbert_cli.recipe.section import Section
from mbert_cli.recipe.sections import (
    MULTI_LABEL,
    Component,
    EncoderSection,
    Recipe,
    ShapeSection,
    TaskSection,
    TrainingSection,
)
from mbert_cli.recipe.validation_message import unknown_key_message, validation_message

ComponentCheck = Callable[[str, Component], list[tuple[KeyPath, str]]]
"""Maps (family, component) to the component's problems: each is a path below the component and a message."""

PathResolver = Callable[[str, Path], str]
"""Maps a path as written, and the folder that it refers to, to an absolute path; raises ValueError."""

TASK_NAME = "a name of at most 64 letters, digits, - and _ that begins with a letter or digit"
"""What the name of a task must be, for messages."""

_NEEDED_BY_A_TASK = {"train", "dev", "text", "label", "head"}
_SectionType = TypeVar("_SectionType", bound=Section)


def load(path: Path, settings: Sequence[str], check: ComponentCheck) -> Recipe:
    """Read, merge and check a recipe.

    Args:
        path: the recipe file.
        settings: `key=value` overrides.
        check: returns the problems of a component's kind and options.

    Raises:
        RecipeError: all problems of the recipe, each with its place.
    """
    document = read_document(path)
    apply_settings(document, settings)
    return validate(document, check)


def apply_settings(document: Document, settings: Sequence[str]) -> None:
    """Apply `key=value` overrides to a document, and check that they name tasks of the recipe.

    Raises:
        RecipeError: see `override`; or settings name a task that the recipe lacks, and do not define all of that task.
    """
    known = set(_tasks(document))
    override(document, settings)
    _check_new_tasks(document, known)


def _tasks(document: Document) -> dict[str, Any]:
    tasks = document.values.get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def _check_new_tasks(document: Document, known: Collection[str]) -> None:
    """Check that overrides of a task that the recipe lacks are a complete task; otherwise its name is misspelt."""
    for name, section in _tasks(document).items():
        if known and name not in known and isinstance(section, dict) and not section.keys() >= _NEEDED_BY_A_TASK:
            place = document.place(("tasks", name))
            raise RecipeError(f"{place}: the recipe has no task '{name}'{nearest(str(name), sorted(map(str, known)))}")


def validate(document: Document, check: ComponentCheck) -> Recipe:
    """Check a document as a complete recipe; see `load`."""
    reader = Reader(document, check)
    values = document.values
    reader.check_keys((), values, Recipe)
    sections: dict[str, Any] = {
        "encoder": reader.encoder(),
        "adapters": reader.adapters(),
        "pooling": reader.component(("pooling",), "pooling", "mean"),
        "tasks": reader.tasks(),
        "loss_balancing": reader.component(("loss_balancing",), "loss_balancing", "total"),
        "curriculum": reader.component(("curriculum",), "curricula", "hybrid"),
        "training": _training(reader),
        "reference": reader.reference(),
        "card": reader.section(("card",), CardSection, default={}),
    }
    if reader.problems:
        raise RecipeError(*reader.problems)
    return Recipe.model_construct(document=document, **sections)


def _names(section: type[BaseModel]) -> list[str]:
    """Return the keys of a section."""
    return [name for name, info in section.model_fields.items() if not info.exclude]


_SECTIONS: dict[str, type[BaseModel]] = {
    "": Recipe,
    "encoder.": EncoderSection,
    "tasks.NAME.": TaskSection,
    "training.": TrainingSection,
}
_KEYS = {prefix: _names(section) for prefix, section in _SECTIONS.items()}
_ADD_TASK = "To train its tasks on the encoder of a trained model, use mbert add-task."


class Reader:
    """Reads the sections of a document and collects their problems in `problems`.

    Args:
        document: the document.
        check: returns the problems of a component's kind and options.
    """

    def __init__(self, document: Document, check: ComponentCheck) -> None:
        self.document = document
        self.check = check
        self.problems: list[str] = []

    def problem(self, path: KeyPath, what: str) -> None:
        """Add a problem of a value; the message continues the place and the name of the value."""
        self.problems.append(f"{self.document.place(path)}: {dotted(path) or 'the recipe'} {what}")

    def value(self, path: KeyPath) -> Any:
        """Return the value at a path; None if there is none."""
        value: Any = self.document.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, TypeError):
                return None
        return value

    def check_keys(self, path: KeyPath, values: dict[str, Any], section: type[BaseModel]) -> None:
        """Check that a section has no unknown keys."""
        names, others = _names(section), _KEYS if section in _SECTIONS.values() else {}
        for key in values:
            if key not in names:
                self.problem((*path, key), unknown_key_message(key, names, others))

    def section(
        self,
        path: KeyPath,
        kind: type[_SectionType],
        default: Any = None,
        paths: Mapping[str, PathResolver] = {},
        **given: Any,
    ) -> _SectionType | None:
        """Read one section; return None if it has problems.

        Args:
            path: the path of the section.
            kind: its class.
            default: its values if the document has none; None if the section is required.
            paths: keys whose values are paths, each with the function that makes it absolute.
            given: fields that are read and checked already.
        """
        values = self.value(path)
        values = default if values is None else values
        if values is None:
            self.problem(path, f"is missing; it needs {_required(kind)}.")
            return None
        if not isinstance(values, dict):
            self.problem(path, f"must contain keys and values, but is {shown(values)}.")
            return None
        self.check_keys(path, values, kind)
        fields = {key: value for key, value in {**values, **given}.items() if key in kind.model_fields}
        for key, resolve in paths.items():
            if isinstance(fields.get(key), str):
                fields[key] = self._resolved((*path, key), fields[key], resolve)
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            for each in error.errors():
                self.problem((*path, *_location(each["loc"], fields)), f"{validation_message(each)}.")
            return None

    def _resolved(self, path: KeyPath, text: str, resolve: PathResolver) -> str:
        try:
            return resolve(text, self.document.place(path).folder)
        except ValueError as error:
            self.problem(path, f"{error}.")
            return text

    def encoder(self) -> EncoderSection | None:
        """Read the encoder."""
        if self.value(("encoder",)) is None and self.value(("tasks",)) is not None:
            self.problem(("encoder",), f"is missing; it needs checkpoint. {_ADD_TASK}")
            return None
        path = ("encoder", "shape")
        shape = self.section(path, ShapeSection) if self.value(path) is not None else None
        return self.section(("encoder",), EncoderSection, paths={"checkpoint": resolve_checkpoint}, shape=shape)

    def reference(self) -> ReferenceSection | None:
        """Read the published scores; each must belong to a task of the recipe."""
        if self.value(("reference",)) is None:
            return None
        scores, tasks = self.value(("reference", "scores")), self.value(("tasks",))
        if isinstance(scores, dict) and isinstance(tasks, dict):
            for name in scores:
                if name not in tasks:
                    what = f"is not a task of the recipe{nearest(name, list(tasks))}"
                    self.problem(("reference", "scores", name), f"{what} `reference: null` removes all scores.")
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
        problems = self.check(family, component)
        for below, what in problems:
            self.problem((*path, *below), what)
        return None if problems else component

    def adapters(self, path: KeyPath = ("adapters",)) -> tuple[Component, ...]:
        """Read a list of adapters."""
        items = self.value(path) or []
        if not isinstance(items, list):
            self.problem(path, "must be a list, such as [{kind: low_rank}, {kind: top}].")
            return ()
        components = [self.component((*path, index), "adapters") for index in range(len(items))]
        return tuple(component for component in components if component is not None)

    def tasks(self) -> dict[str, TaskSection] | None:
        """Read all tasks."""
        tasks = self.document.values.get("tasks")
        if not isinstance(tasks, dict) or not tasks:
            self.problem(("tasks",), "must contain at least one task: a name with train, dev, text, label and head.")
            return None
        sections: dict[str, TaskSection | None] = {}
        for name, values in tasks.items():
            path = ("tasks", name)
            if not is_task_name(name):
                self.problem(path, f"must be {TASK_NAME}.")
            if isinstance(values, dict) and isinstance(values.get("text"), str):
                values["text"] = [values["text"]]
            for below, what in _label_columns(values) if isinstance(values, dict) else ():
                self.problem((*path, *below), what)
            head = self.component((*path, "head"), "heads") if isinstance(values, dict) else None
            # If the head has problems, they are reported already; the rest of the task is still checked.
            given: dict[str, Any] = {"head": head or Component(kind="unknown")}
            for key, kind in (("windows", WindowsSection), ("fold", FoldSection)):
                if self.value((*path, key)) is not None:
                    given[key] = self.section((*path, key), kind)
            paths = dict.fromkeys(("train", "dev", "test"), resolve_path)
            sections[name] = self.section(path, TaskSection, paths=paths, **given)
        valid = {name: task for name, task in sections.items() if task is not None}
        return valid if len(valid) == len(sections) else None


def is_task_name(name: str) -> bool:
    """Whether a text can be the name of a task, which is also a part of file names."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) is not None


def _training(reader: Reader) -> TrainingSection | None:
    """Read the training section; its trackers must be known."""
    section = reader.section(("training",), TrainingSection, default={}, paths={"start_from": resolve_path})
    for index, kind in enumerate(section.track if section else ()):
        for _, what in reader.check("tracking", Component(kind=kind)):
            reader.problem(("training", "track", index), what)
    return section


def _label_columns(values: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """Return the problems of a task with one column for each label. The columns become the labels of its head."""
    columns, head = values.get("label"), values.get("head")
    if not isinstance(columns, list) or not isinstance(head, dict):
        return []
    if head.get("kind") != MULTI_LABEL:
        what = f"names {len(columns)} columns, but only a head {{kind: {MULTI_LABEL}}} has several labels"
        return [(("label",), f"{what}; name one column.")]
    if len(columns) < 2 or len(columns) > len(set(map(str, columns))):
        head["labels"] = ["0", "1"]  # the columns are already a problem; report no second one for the labels
        return []
    if list(head.setdefault("labels", list(columns)) or ()) != columns:
        rule = "must be left out, or map each column of label, in the same order, to a name"
        return [(("head", "labels"), f"{rule}, but is {shown(head['labels'])}.")]
    return []


def _location(location: tuple[str | int, ...], fields: dict[str, Any]) -> KeyPath:
    """Return the leading part of pydantic's location that exists in the recipe.

    For a union type, pydantic appends the name of the alternative that it tried, which is no key of the recipe.
    """
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
