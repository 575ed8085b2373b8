"""Recipe files: YAML with the line of every value, `extends`, and overrides from the command line."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mbert_cli.errors import RecipeError
from mbert_cli.messages import shown

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
_MAX_VALUES = 100_000
_MAX_BITS = 1024  # of a whole number: as many as the largest float has
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels; a recipe is a page of YAML."
_TOO_MANY = "holds too many values; a recipe is a page of YAML."

_HASH = "\ufdd0"  # stands for # while an override is parsed; Unicode has reserved it for such uses

KeyPath = tuple[str | int, ...]
"""Where a value stands in a recipe, e.g. ``("adapters", 0, "rank")``."""


@dataclass(frozen=True)
class Place:
    """Where a value was written.

    Args:
        text: what messages show, e.g. ``recipes/x.yaml:7``.
        folder: what relative paths are relative to.
    """

    text: str
    folder: Path

    def __str__(self) -> str:
        return self.text


@dataclass
class Document:
    """A recipe's values with their places, before they are checked.

    Args:
        values: nested dicts, lists and scalars.
        places: where each value was written.
        source: the file, as the user named it.
    """

    values: dict[str, Any]
    places: dict[KeyPath, Place]
    source: str
    folder: Path = field(default_factory=Path.cwd)

    def place(self, path: KeyPath) -> Place:
        """Return where a value was written; for one that was not, where its nearest parent was."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return Place(self.source, self.folder)


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as people write it: ``adapters[0].rank``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Loader(yaml.SafeLoader):
    """YAML's core schema: `1e-5` is a number, and `no`, `on` or `12:30` are strings (YAML 1.1 thinks otherwise)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Lay out a mapping's merges, which may merge merges: twenty lines can make a million pairs."""
        super().flatten_mapping(node)
        if len(node.value) > _MAX_VALUES:
            raise RecipeError(f"{self.name}:{node.start_mark.line + 1}: {_TOO_MANY}")


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


def read_document(path: Path, source: str | None = None) -> Document:
    """Read a recipe file and the files it extends.

    Args:
        path: the file.
        source: how messages name it; the path as given by default.

    Raises:
        RecipeError: a file is missing or too large, is not YAML, or is not a mapping; a key stands twice; or files
            extend each other in a circle.
    """
    return _read(path, source or str(path), ())


def _read(path: Path, source: str, above: tuple[Path, ...]) -> Document:
    resolved = path.resolve()
    if resolved in above:
        raise RecipeError(f"{source}: extends itself, by way of {above[-1].name}; break the circle.")
    document = parse(read_text(path, source), source, resolved.parent)
    document.values = expand_kinds(document.values)
    parent = document.values.pop("extends", None)
    if parent is None:
        return document
    place = document.place(("extends",))
    if not isinstance(parent, str):
        raise RecipeError(f"{place}: extends must be the name of a recipe file, but is {shown(parent)}.")
    if not os.path.isfile(resolved.parent / parent):
        raise RecipeError(f"{place}: extends '{parent}', but there is no such file in {resolved.parent}.")
    base = _read(resolved.parent / parent, str(Path(source).parent / parent), (*above, resolved))
    merge(base, document)
    return Document(base.values, base.places, source, resolved.parent)


def read_text(path: Path, source: str) -> str:
    """Read the text of a recipe file, or of another page of YAML.

    Args:
        path: the file.
        source: how messages name it.

    Raises:
        RecipeError: it is missing, too large, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise RecipeError(f"{source}: is a folder; name the recipe file in it.") from None
    except OSError as error:
        raise RecipeError(f"{source}: cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_BYTES:
        raise RecipeError(f"{source}: is larger than 1 MiB; a recipe is a page of YAML.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RecipeError(f"{source}:{line}: is not UTF-8 (byte {error.start}); save it as UTF-8.") from None


def parse(text: str, source: str, folder: Path, example: str = "tasks") -> Document:
    """Parse YAML text.

    Args:
        text: the YAML.
        source: how messages name it.
        folder: what its relative paths are relative to.
        example: a key that it should hold, for a message.

    Raises:
        RecipeError: as `read_document` says.
    """
    loader = None
    try:
        loader = _Loader(text)
        loader.name = source
        node = loader.get_single_node()
        if node is None:
            return Document({}, {}, source, folder)
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{source}:{node.start_mark.line + 1}: must hold keys and values, such as '{example}:'.")
        builder = _Builder(loader, source, folder)
        return Document(builder.build(node, ()), builder.places, source, folder)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        tab = " Indent with spaces, not tabs." if "'\\t'" in str(error.problem) else ""
        raise RecipeError(f"{source}{at}: is not YAML: {error.problem}.{tab}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise RecipeError(f"{source}:{line}: holds the unprintable character #x{error.character:04x}.") from None
    except RecursionError:
        raise RecipeError(f"{source}: {_TOO_DEEP}") from None
    finally:
        if loader is not None:
            loader.dispose()


class _Builder:
    """Turns YAML nodes into values and remembers the line of each."""

    def __init__(self, loader: _Loader, source: str, folder: Path) -> None:
        self.loader = loader
        self.source = source
        self.folder = folder
        self.places: dict[KeyPath, Place] = {}
        # Mappings whose merges are laid out; an alias shows the same node again.
        self.flattened: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self.places.setdefault(path, Place(f"{self.source}:{line}", self.folder))
        if len(path) > MAX_DEPTH or len(self.places) > _MAX_VALUES:
            raise RecipeError(f"{self.source}:{line}: {_TOO_DEEP if len(path) > MAX_DEPTH else _TOO_MANY}")
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):
            raise RecipeError(f"{self.source}:{line}: the tag {node.tag} is not allowed here.")
        try:
            value = self.loader.construct_object(node, deep=True)
        except (ValueError, KeyError, IndexError, AttributeError):  # PyYAML's constructors raise any of them
            what = f"{dotted(path)} is {shown(node.value)}, which does not fit its tag"
            raise RecipeError(f"{self.source}:{line}: {what}.") from None
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            size = f"a whole number of {value.bit_length()} bits"
            raise RecipeError(f"{self.source}:{line}: {dotted(path)} is {size}; nothing is that large.")
        if isinstance(value, str):
            self._check_text(value, line)
        return value

    def _check_text(self, text: str, line: int) -> None:
        try:
            text.encode()
        except UnicodeEncodeError:
            what = "escapes one half of a surrogate pair, which is no character"
            raise RecipeError(f"{self.source}:{line}: {what}.") from None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        if id(node) not in self.flattened:
            self._check_keys(node, path)
            self.flattened.add(id(node))
            self.loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key, value in node.value:
            below = (*path, key.value)
            self._forget(below)  # a merged value that this one replaces
            self.places[below] = Place(f"{self.source}:{key.start_mark.line + 1}", self.folder)
            values[key.value] = self.build(value, below)
        return values

    def _check_keys(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(f"{self.source}:{line}: a key must be a plain word.")
            self._check_text(key.value, line)
            if key.value in first and key.tag != "tag:yaml.org,2002:merge":
                where = dotted((*path, key.value))
                raise RecipeError(f"{self.source}:{line}: {where} stands already on line {first[key.value]}; keep one.")
            first[key.value] = line

    def _forget(self, path: KeyPath) -> None:
        if path in self.places:
            for each in [each for each in self.places if each[: len(path)] == path]:
                del self.places[each]


def override(document: Document, settings: Sequence[str], written: Sequence[Place] = ()) -> None:
    """Apply `key=value` settings from the command line, e.g. ``training.epochs=3`` or ``adapters[0].rank=8``.

    The value is YAML without comments: `#` is a character like any other. Relative paths in it are relative to the
    working folder, or to that of the file it stands in.

    Args:
        document: what is changed.
        settings: the settings.
        written: where each stands, if in a file.

    Raises:
        RecipeError: a setting has no `=`, its value is not YAML, or its index lies beyond the list.
    """
    for index, setting in enumerate(settings):
        place = Place(f"'{setting}'", Path.cwd())
        if written:
            place = Place(f"{written[index]}: {place}", written[index].folder)
        key, equals, text = setting.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+|\[[0-9]+\])*", key):
            raise RecipeError(f"{place}: an override reads key=value, such as training.epochs=3.")
        path = tuple(
            int(word[1:-1]) if word[0] == "[" else word for word in re.findall(r"[A-Za-z0-9_-]+|\[[0-9]+\]", key)
        )
        if len(path) > MAX_DEPTH:
            raise RecipeError(f"{place}: {_TOO_DEEP}")
        _check_indices(document.values, path, place)
        parsed = parse(f"value: {text.replace('#', _HASH)}", place.text, place.folder).values
        if parsed.keys() != {"value"}:
            raise RecipeError(f"{place}: an override holds one value.")
        change: Any = _with_hashes(parsed["value"])
        for part in reversed(path):
            change = {part: change}  # under an index, the change of one item of a list
        change = expand_kinds(change)
        places: dict[KeyPath, Place] = {}
        _mark(places, change, (), place)
        merge(document, Document(change, places, place.text, place.folder))


def _with_hashes(value: Any) -> Any:
    """Return a value of an override with the # that were replaced while it was parsed."""
    if isinstance(value, str):
        return value.replace(_HASH, "#")
    if isinstance(value, list):
        return [_with_hashes(each) for each in value]
    if isinstance(value, dict):
        return {_with_hashes(key): _with_hashes(each) for key, each in value.items()}
    return value


def _check_indices(values: Any, path: KeyPath, place: Place) -> None:
    for depth, part in enumerate(path):
        if isinstance(part, int) and not (isinstance(values, list) and part < len(values)):
            have = f"has {len(values)} items" if isinstance(values, list) else "is not a list"
            raise RecipeError(f"{place}: {dotted(path[:depth])} {have}, so there is no {dotted(path[: depth + 1])}.")
        values = values[part] if isinstance(part, int) else values.get(part) if isinstance(values, dict) else None


def _mark(places: dict[KeyPath, Place], value: Any, path: KeyPath, place: Place) -> None:
    places[path] = place
    if isinstance(value, dict):
        for key, below in value.items():
            _mark(places, below, (*path, key), place)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            _mark(places, below, (*path, index), place)


def expand_kinds(values: dict[str, Any]) -> dict[str, Any]:
    """Spell out components that are given by their name alone: ``pooling: mean`` is ``pooling: {kind: mean}``."""

    def spelled(value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    result = dict(values)
    for key in {"pooling", "loss_balancing", "curriculum"} & values.keys():
        result[key] = spelled(values[key])
    adapters = values.get("adapters")
    if isinstance(adapters, list):
        result["adapters"] = [spelled(item) for item in adapters]
    elif isinstance(adapters, dict) and _changes_items(adapters):
        result["adapters"] = {index: spelled(item) for index, item in adapters.items()}
    if isinstance(values.get("tasks"), dict):
        result["tasks"] = {
            name: {key: spelled(value) if key == "head" else value for key, value in task.items()}
            if isinstance(task, dict)
            else task
            for name, task in values["tasks"].items()
        }
    return result


def merge(base: Document, change: Document) -> None:
    """Lay one document over another, in place.

    Mappings merge key by key, lists and scalars replace. A mapping that names another `kind` replaces the whole, so
    that options of the old kind do not linger; null in place of a mapping removes it.
    """
    _merge_places(base, change, base.values, change.values, ())
    base.values = _merged(base.values, change.values)


def _replaces(old: Any, new: Any) -> bool:
    if _changes_items(new):
        return False
    if not isinstance(old, dict) or not isinstance(new, dict):
        return True
    return "kind" in new and new["kind"] != old.get("kind")


def _changes_items(new: Any) -> bool:
    """Whether a change is of single items of a list: index to change; `override` has checked that they are there."""
    return isinstance(new, dict) and any(isinstance(key, int) for key in new)


def _merged(old: Any, new: Any) -> Any:
    if _replaces(old, new):
        return new
    if _changes_items(new):
        return [_merged(item, new[index]) if index in new else item for index, item in enumerate(old)]
    result = dict(old)
    for key, value in new.items():
        if value is None and isinstance(old.get(key), dict):
            del result[key]
        else:
            result[key] = _merged(old.get(key), value)
    return result


def _merge_places(base: Document, change: Document, old: Any, new: Any, path: KeyPath) -> None:
    if _replaces(old, new):
        for each in [each for each in base.places if each[: len(path)] == path]:
            del base.places[each]
        base.places.update({each: place for each, place in change.places.items() if each[: len(path)] == path})
        return
    for key in new:
        below = old[key] if isinstance(key, int) else old.get(key)
        _merge_places(base, change, below, new[key], (*path, key))


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would take for something else than text."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def dump(values: Any, compact: bool = False) -> str:
    """Return values as YAML that `parse` reads back as they are.

    Args:
        values: mappings, lists and plain values.
        compact: write what holds plain values only in one line, as people do.
    """
    flow = None if compact else False
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=flow)
