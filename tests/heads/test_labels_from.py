"""Labels that are built from a recipe section without a head."""

import inspect

import pytest
from components import every

from mbert_cli.data.labels import ClassLabels
from mbert_cli.errors import RecipeError
from mbert_cli.heads import Head
from mbert_cli.model.components import build, build_labels, component_class
from mbert_cli.recipe.sections import Component

TEXTS = ["0", "1", "2", "-1", "5", "0.5", "no", "yes", ""]


def parsed(labels, text):
    try:
        return labels.parse(text)
    except ValueError as error:
        return str(error)


@every("heads")
def test_labels_of_a_section_equal_those_of_its_head(kind, options):
    section = Component(kind=kind, options=options)
    alone, of_head = build_labels(section), build("heads", section, 4).labels
    assert type(alone) is type(of_head)
    assert alone.columns == of_head.columns
    assert alone.soft_columns == of_head.soft_columns
    assert [parsed(alone, text) for text in TEXTS] == [parsed(of_head, text) for text in TEXTS]


@every("heads")
def test_labels_are_built_without_a_head(kind, options, monkeypatch):
    monkeypatch.delattr(Head, "__init__")
    monkeypatch.setattr("torch.nn.Module.__init__", lambda self: pytest.fail("a module is built"))
    assert build_labels(Component(kind=kind, options=options)).columns[0] == "pred"


@every("heads")
def test_parameters_of_labels_from_are_options_without_defaults_of_their_own(kind, options):
    cls = component_class("heads", kind)
    keywords = [each.name for each in inspect.signature(cls).parameters.values() if each.kind is each.KEYWORD_ONLY]
    for parameter in inspect.signature(cls.labels_from).parameters.values():
        assert parameter.name in keywords
        assert parameter.default is parameter.empty


def test_options_of_a_section_reach_its_labels():
    labels = build_labels(Component(kind="pair_classification", options={"labels": {"n": "no", "y": "yes"}}))
    assert isinstance(labels, ClassLabels)
    assert (labels.texts, labels.names) == (["n", "y"], ["no", "yes"])
    scale = build_labels(Component(kind="regression", options={"scale": 3, "min": -3}))
    assert [scale.parse(text) for text in ("-3", "3")] == [-3, 3]


def test_invalid_labels_are_reported_with_the_option():
    with pytest.raises(
        RecipeError, match=r"labels must list exactly two classes, the negative one first, but lists 3\.$"
    ):
        build_labels(Component(kind="pair_classification", options={"labels": ["a", "b", "c"]}))
