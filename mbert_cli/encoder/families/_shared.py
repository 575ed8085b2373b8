"""Names that several families share with BERT."""

from collections.abc import Mapping
from typing import Any

SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "activation": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}

MODULES = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embeddings": "embeddings.position_embeddings",
    "type_embeddings": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}

LAYER = "encoder.layer.{}"

LAYER_MODULES: dict[str, str | tuple[str, ...]] = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}

ABSOLUTE = {"position_embedding_type": "absolute"}


def without(names: dict[str, str], *keys: str) -> dict[str, str]:
    """Return some of the names."""
    return {key: name for key, name in names.items() if key not in keys}


def rotary_theta(config: Mapping[str, Any], default: Any, of_layers: str = "") -> Any:
    """Return the base of rotary positions in a config.json of any version.

    Args:
        config: the content of config.json.
        default: the base if config.json has none.
        of_layers: a key in `rope_parameters`, if layers have different bases: the kind of the layers.

    Raises:
        ValueError: the angles are scaled, or a value has the wrong type.
    """
    parameters = {"rope_theta": default}
    for key in ("rope_scaling", "rope_parameters"):
        given = config.get(key) or {}
        given = (given.get(of_layers) or {}) if of_layers and isinstance(given, dict) else given
        if not isinstance(given, dict):
            raise ValueError(f"{key} must be an object, but contains {given!r}")
        parameters |= given
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise ValueError(f"rope_type is {kind!r}, but only 'default' is supported")
    return parameters["rope_theta"]
