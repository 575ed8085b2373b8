"""The JSON Schema of plans, for editors. It is made from the classes that check plans.

Must not import torch: fast start-up.
"""

from typing import Any

from pydantic import BaseModel

from mbert_cli.recipe.docstrings import argument_texts
from mbert_cli.sweeps.plan import PlanSection, RowSection
from mbert_cli.sweeps.search_plan import SearchSection

Schema = dict[str, Any]


def plan_schema() -> Schema:
    """Return the schema of a plan file: a plan has rows or a search."""
    rows = {"type": "array", "items": _section(RowSection), "minItems": 1}
    ranges = {"type": "object", "additionalProperties": _range(), "minProperties": 1}
    search = {**_section(SearchSection, ranges=ranges), "anyOf": [{"required": ["trials"]}, {"required": ["max_time"]}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mbert plan",
        **_section(PlanSection, rows=rows, search=search),
        "oneOf": [{"required": ["rows"]}, {"required": ["search"]}],
    }


def _section(section: type[BaseModel], **given: Schema) -> Schema:
    """Return the schema of a section.

    Args:
        section: the section.
        given: the schemas of keys that contain sections.
    """
    texts = argument_texts(section)
    properties = {**section.model_json_schema()["properties"], **given}
    described = {
        name: {"description": texts[name], **{key: value for key, value in schema.items() if key != "title"}}
        for name, schema in properties.items()
    }
    required = [name for name, info in section.model_fields.items() if info.is_required()]
    return {"type": "object", "properties": described, "required": required, "additionalProperties": False}


def _range() -> Schema:
    """Return the schema of a range; see `sweeps/ranges.py`."""

    def limits(kind: str, number: Schema, **more: Schema) -> Schema:
        ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
        return {"properties": {kind: ends, **more}, "required": [kind], "additionalProperties": False}

    number, whole = {"type": "number"}, {"type": "integer"}
    choices = {"type": "array", "minItems": 1, "uniqueItems": True}
    choice: Schema = {"properties": {"choice": choices}, "required": ["choice"], "additionalProperties": False}
    objects = [
        limits("log", {**number, "exclusiveMinimum": 0}),
        limits("uniform", number, step={**number, "exclusiveMinimum": 0}),
        limits("int", whole, step={**whole, "minimum": 1}),
        choice,
    ]
    return {"anyOf": [choices, *({"type": "object", **each} for each in objects)]}
