"""The JSON Schema of recipes, by which editors complete and check them; it is made of what checks them here."""

import inspect
import re
from typing import Any

from pydantic import BaseModel, create_model

from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.model.components import component_class, kinds, options_model
from mbert_cli.recipe.sections import (
    CardSection,
    EncoderSection,
    Recipe,
    ReferenceSection,
    ShapeSection,
    TaskSection,
    TrainingSection,
)

Schema = dict[str, Any]

_FAMILIES = {"pooling": "pooling", "loss_balancing": "loss_balancing", "curriculum": "curricula"}
_EXTENDS = "another recipe, a path relative to this file, whose values hold where this one says nothing"


def recipe_schema() -> Schema:
    """Return the schema of a recipe file.

    A recipe that extends another may leave out what that one says, a component's kind included; so nothing is required
    of it. What only a run can tell, such as whether a file exists, no schema tells.
    """
    shape = _section(ShapeSection, EncoderShape)
    encoder = _section(EncoderSection, shape=_or_null(shape))
    task = _section(TaskSection, head=_component("heads"), text=_texts())
    sections: Schema = {
        "extends": {"type": "string", "description": _EXTENDS},
        "encoder": encoder,
        "adapters": {"type": ["array", "null"], "items": _component("adapters")},
        "tasks": {"type": "object", "additionalProperties": _or_null(task)},
        "training": _section(TrainingSection),
        "reference": _or_null(_section(ReferenceSection)),
        "card": _section(CardSection),
        **{key: _component(family) for key, family in _FAMILIES.items()},
    }
    assert {*sections} - {"extends"} == {*Recipe.model_fields} - {"document"}, "a section has no schema"
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
    """Return the schema of a component: a kind's name alone, or with its options, which go by the kind."""
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
        documented: the class whose docstring tells of its keys; the section itself by default.
        given: the schemas of keys that are sections or lists.
    """
    names = [name for name, info in section.model_fields.items() if not info.exclude and name not in given]
    plain: Any = {name: (section.model_fields[name].annotation, section.model_fields[name]) for name in names}
    documented = documented or section
    found, told = _properties(create_model(section.__name__, **plain), documented), _arguments(documented)
    nested = {name: {"description": told[name], **schema} for name, schema in given.items()}
    return {"type": "object", "properties": {**found, **nested}, "additionalProperties": False}


def _properties(model: type[BaseModel], documented: type) -> Schema:
    """Return the schema of each of a model's fields, described as the docstring of a class does."""
    told = _arguments(documented)
    told.setdefault("budget", "of all tasks together, in the place of the size: 1.13x or 5% of the encoder, or 2M")
    found = model.model_json_schema()["properties"] if model.model_fields else {}
    return {
        name: {"description": told[name], **{key: value for key, value in schema.items() if key != "title"}}
        for name, schema in found.items()
    }


def _texts() -> Schema:
    column: Schema = {"type": "string"}
    return {"anyOf": [column, {"type": "array", "items": column, "minItems": 1, "maxItems": 2}]}


def _or_null(schema: Schema) -> Schema:
    """Allow null as well, which takes away what an extended recipe says."""
    return {**schema, "type": [schema["type"], "null"]}


def _required(section: type[BaseModel]) -> list[str]:
    return [name for name, info in section.model_fields.items() if info.is_required()]


def _summary(documented: type) -> str:
    """Return the first sentence or line of a class's docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def _arguments(documented: type) -> dict[str, str]:
    """Return what a class's docstring says of each argument: its section `Args`, in the form that Google's have."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(documented) or "", re.MULTILINE | re.DOTALL)
    parts = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section[1] if section else "", re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in parts}
