"""YAML text to a document and back; a document knows the line of every value."""

import re
from pathlib import Path
from typing import Any

import yaml

from mbert_cli.errors import RecipeError
from mbert_cli.messages import shown
from mbert_cli.recipe.document import Document, KeyPath, Place, dotted
from mbert_cli.recipe.limits import MAX_BITS, MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_MANY


class _Loader(yaml.SafeLoader):
    """A loader of YAML's core schema: `1e-5` is a number; `no`, `on` and `12:30` are strings, unlike in YAML 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Expand the merges of a mapping. Merges can nest, so that twenty lines can produce a million pairs."""
        super().flatten_mapping(node)
        if len(node.value) > MAX_VALUES:
            raise RecipeError(f"{self.name}:{node.start_mark.line + 1}: {TOO_MANY}")


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


def parse(text: str, source: str, folder: Path, example: str = "tasks") -> Document:
    """Parse YAML text.

    Args:
        text: the YAML.
        source: the file's name in messages.
        folder: the folder that relative paths in the text refer to.
        example: a key that the text should have, for a message.

    Raises:
        RecipeError: the text is not YAML or not a mapping, is nested too deeply, has too many values, or has a key
            twice.
    """
    loader = None
    try:
        loader = _Loader(text)
        loader.name = source
        node = loader.get_single_node()
        if node is None:
            return Document({}, {}, source, folder)
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(
                f"{source}:{node.start_mark.line + 1}: must contain keys and values, such as '{example}:'."
            )
        builder = _Builder(loader, source, folder)
        return Document(builder.build(node, ()), builder.places, source, folder)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        tab = " Indent with spaces, not tabs." if "'\\t'" in str(error.problem) else ""
        raise RecipeError(f"{source}{at}: is not YAML: {error.problem}.{tab}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise RecipeError(f"{source}:{line}: contains the unprintable character #x{error.character:04x}.") from None
    except RecursionError:
        raise RecipeError(f"{source}: {TOO_DEEP}") from None
    finally:
        if loader is not None:
            loader.dispose()


class _Builder:
    """Turns YAML nodes into values and records the line of each."""

    def __init__(self, loader: _Loader, source: str, folder: Path) -> None:
        self.loader = loader
        self.source = source
        self.folder = folder
        self.places: dict[KeyPath, Place] = {}
        # Mappings whose merges are expanded already: each alias of a mapping returns the same node.
        self.flattened: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self.places.setdefault(path, Place(f"{self.source}:{line}", self.folder))
        if len(path) > MAX_DEPTH or len(self.places) > MAX_VALUES:
            raise RecipeError(f"{self.source}:{line}: {TOO_DEEP if len(path) > MAX_DEPTH else TOO_MANY}")
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):
            raise RecipeError(f"{self.source}:{line}: the tag {node.tag} is not allowed here.")
        try:
            value = self.loader.construct_object(node, deep=True)
        except (ValueError, KeyError, IndexError, AttributeError):  # PyYAML's constructors raise any of them
            what = f"{dotted(path)} is {shown(node.value)}, which is not a valid value for its YAML tag"
            raise RecipeError(f"{self.source}:{line}: {what}.") from None
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            size = f"a whole number of {value.bit_length()} bits"
            raise RecipeError(f"{self.source}:{line}: {dotted(path)} is {size}; the limit is {MAX_BITS} bits.")
        if isinstance(value, str):
            self._check_text(value, line)
        return value

    def _check_text(self, text: str, line: int) -> None:
        try:
            text.encode()
        except UnicodeEncodeError:
            what = "escapes one half of a surrogate pair, which is not a character"
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
                name = dotted((*path, key.value))
                raise RecipeError(
                    f"{self.source}:{line}: {name} is already defined on line {first[key.value]}; keep one."
                )
            first[key.value] = line

    def _forget(self, path: KeyPath) -> None:
        if path in self.places:
            for each in [each for each in self.places if each[: len(path)] == path]:
                del self.places[each]


class _Dumper(yaml.SafeDumper):
    """Quotes a text that `_Loader` would read as another type."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def dump(values: Any, compact: bool = False) -> str:
    """Return values as YAML; `parse` reads back the same values.

    Args:
        values: mappings, lists and plain values.
        compact: write a list or mapping of plain values in one line.
    """
    flow = None if compact else False
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=flow)
