"""Every component of a family, with options for tests. A kind that is not listed here is tested with its defaults."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from mbert_cli.model.components import build, kinds
from mbert_cli.recipe.sections import Component

ALL_TARGETS = ["query", "key", "value", "attention_output", "intermediate", "output"]
OPTIONS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "adapters": {
        "houlsby": [{"rank": 3, "train_layer_norms": True}, {"rank": 3}],
        "lora": [{"rank": 2, "alpha": 3.0, "targets": ALL_TARGETS}, {"rank": 2}],
        "low_rank": [{"rank": 4}, {"rank": 4, "activation": "gelu"}],
        "pal": [{"rank": 4, "heads": 2}, {"rank": 4, "heads": 1, "post_activation": "gelu"}],
        "prefix": [{"length": 3}, {"length": 3, "gate": "none"}],
    },
    "pooling": {"cls": [{}, {"pooler": True}]},
    "heads": {
        "classification": [{"num_classes": 3}, {"num_classes": 3, "class_weights": [1, 2, 3]}],
        "dual_similarity": [{}, {"loss": "squared_error"}, {"late_interaction": True}],
        "multi_label": [
            {"labels": ["a", "b", "c"]},
            {"labels": {"0": "no", "1": "yes"}, "delimiter": "|", "positive_weight": [1, 3]},
        ],
        "ordinal": [{"labels": ["low", "mid", "high"]}],
        "regression": [{}, {"loss": "squared_error"}],
        "pair_classification": [{}, {"positive_weight": 3}],
        "cosine_similarity": [{}]
        + [{"activation": each, "hidden_activation": "none"} for each in ("relu", "affine", "clamp", "none")],
    },
}
# New adapters that change the encoder's output: a copy of the last layer is one more layer; a prefix in the same
# softmax takes attention weight from the tokens.
CHANGING_FROM_THE_START = [("top", {}), ("prefix", {"length": 3, "gate": "none"})]


def components(family: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every kind with each of its options."""
    return [(kind, options) for kind in kinds(family) for options in OPTIONS[family].get(kind, [{}])]


def name(kind: str, options: Mapping[str, Any]) -> str:
    """Return the name of a test."""
    values = ["all" if value is ALL_TARGETS else f"{key}={value}" for key, value in options.items()]
    return "-".join([kind, *values])


def numbers(metrics: Mapping[str, Any]) -> set[str]:
    """Return the names of the metrics that are one number."""
    return {key for key, value in metrics.items() if isinstance(value, int | float)}


def every(family: str) -> pytest.MarkDecorator:
    """Run a test with every component of a family: its `kind` and its `options`."""
    found = components(family)
    return pytest.mark.parametrize(("kind", "options"), found, ids=[name(*each) for each in found])


def every_pair_of_adapters() -> pytest.MarkDecorator:
    """Run a test with any two adapters, in both orders, each with its first options; prefixes with both gates."""
    found = [each for each in components("adapters") if each[1] == OPTIONS["adapters"].get(each[0], [{}])[0]]
    found.append(("prefix", {"length": 3, "gate": "none"}))
    pairs = list(product(found, repeat=2))
    return pytest.mark.parametrize("pair", pairs, ids=["+".join(name(*each) for each in pair) for pair in pairs])


def built(family: str, kind: str, options: Mapping[str, Any], *given: Any) -> Any:
    """Return a component, built as from a recipe."""
    return build(family, Component(kind=kind, options=dict(options)), *given)
