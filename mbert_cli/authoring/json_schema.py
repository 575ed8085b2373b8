"""The JSON Schema of recipes, for editors. It is made from the classes that check recipes."""

import inspect
from typing import Any

from pydantic import BaseModel, create_model

from mbert_cli.encoder.families import model_types
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.model.components import component_class, kinds, options_model
from mbert_cli.recipe.describing import CardSection, ReferenceSection
from mbert_cli.recipe.docstrings import argument_texts
from mbert_cli.recipe.folds import FoldSection
from mbert_cli.recipe.long_texts import WindowsSection
from mbert_cli.recipe.sections import EncoderSection, Recipe, ShapeSection, TaskSection, TrainingSection

Schema = dict[str, Any]

_FAMILIES = {"pooling": "pooling", "loss_balancing": "loss_balancing", "curriculum": "curricula"}
_EXTENDS = "path of another recipe, relative to this file; its values are the defaults of this one"


def recipe_schema() -> Schema:
    """Return the schema of a recipe file.

    A recipe that extends another one has no required keys, not even the kind of a component: the other recipe may have
    them. The schema cannot check what depends on other files, such as whether a data file exists.
    """
    shape = _section(ShapeSection, EncoderShape)
    shape["properties"]["family"] = {**shape["properties"]["family"], "enum": [*model_types(), None]}
    encoder = _section(EncoderSection, shape=_or_null(shape))
    nested: dict[str, Any] = {"windows": _or_null(_section(WindowsSection)), "fold": _or_null(_section(FoldSection))}
    task = _section(TaskSection, head=_component("heads"), text=_texts(), **nested)
    sections: Schema = {
        "extends": {"type": "string", "description": _EXTENDS},
        "encoder": encoder,
        "adapters": {"type": ["array", "null"], "items": _component("adapters")},
        "tasks": {"type": "object", "additionalProperties": _or_null(task)},
        "training": _section(TrainingSection, track=_trackers()),
        "reference": _or_null(_section(ReferenceSection)),
        "card": _section(CardSection),
        **{key: _component(family) for key, family in _FAMILIES.items()},
    }
    written = {name for name, info in Recipe.model_fields.items() if not info.exclude}
    assert {*sections} - {"extends"} == written, "a section has no schema"
    whole: Schema = {
        "required": ["encoder", "tasks"],
        "properties": {
            "encoder": {"required": _required(EncoderSection)},
            "tasks": {"additionalProperties": {"required": _required(TaskSection)}},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mbert recipe",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
        "if": {"not": {"required": ["extends"]}},
        "then": whole,
    }


def _component(family: str) -> Schema:
    """Return the schema of a component: the name of a kind alone, or with the options of that kind."""
    known = kinds(family)
    summaries = (f"{kind}: {_summary(component_class(family, kind))}" for kind in known)
    named: Schema = {"enum": known, "description": "\n".join(summaries)}
    return {
        "if": {"type": "string"},
        "then": named,
        "else": {
            "type": "object",
            "properties": {"kind": named},
            "allOf": [_if_kind(kind, component_class(family, kind)) for kind in known],
        },
    }


def _if_kind(kind: str, component: type) -> Schema:
    options = _properties(options_model(component), component)
    return {
        "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
        "then": {"properties": {"kind": True, **options}, "additionalProperties": False},
    }


def _section(section: type[BaseModel], documented: type | None = None, **given: Schema) -> Schema:
    """Return the schema of a section, whose keys are all optional.

    Args:
        section: the section.
        documented: the class whose docstring describes the keys; by default the section itself.
        given: the schemas of keys that are sections or lists.
    """
    names = [name for name, info in section.model_fields.items() if not info.exclude and name not in given]
    plain: Any = {name: (section.model_fields[name].annotation, section.model_fields[name]) for name in names}
    documented = documented or section
    properties, texts = _properties(create_model(section.__name__, **plain), documented), argument_texts(documented)
    nested = {name: {"description": texts[name], **schema} for name, schema in given.items()}
    return {"type": "object", "properties": {**properties, **nested}, "additionalProperties": False}


def _properties(model: type[BaseModel], documented: type) -> Schema:
    """Return the schema of each field of a model, with descriptions from the docstring of a class."""
    texts = argument_texts(documented)
    texts.setdefault("budget", "parameters of all tasks together, instead of a size: 1.13x or 5% of the encoder, or 2M")
    schemas = model.model_json_schema()["properties"] if model.model_fields else {}
    return {
        name: {"description": texts[name], **{key: value for key, value in schema.items() if key != "title"}}
        for name, schema in schemas.items()
    }


def _texts() -> Schema:
    column: Schema = {"type": "string"}
    return {"anyOf": [column, {"type": "array", "items": column, "minItems": 1, "maxItems": 2}]}


def _trackers() -> Schema:
    kind: Schema = {"enum": kinds("tracking")}
    return {"anyOf": [kind, {"type": "array", "items": kind, "uniqueItems": True}]}


def _or_null(schema: Schema) -> Schema:
    """Allow null as well; it removes the value of an extended recipe."""
    return {**schema, "type": [schema["type"], "null"]}


def _required(section: type[BaseModel]) -> list[str]:
    return [name for name, info in section.model_fields.items() if info.is_required()]


def _summary(documented: type) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]
