"""NomicBERT (Nussbaum et al. 2024): BERT with rotary positions, a gated feed-forward sublayer and no biases."""

from typing import Any

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import SIZES, rotary_theta
from mbert_cli.encoder.shape import EncoderShape

_THETA = 1000.0

_OLDER_KEYS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "max_trained_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "resid_pdrop": "hidden_dropout_prob",
    "attn_pdrop": "attention_probs_dropout_prob",
    "rotary_emb_base": "rope_theta",
}


def _current(config: dict[str, Any]) -> dict[str, Any]:
    """Rename the keys of the files that were published before transformers knew this family."""
    renamed = {new: config[old] for old, new in _OLDER_KEYS.items() if config.get(old) is not None}
    if config.get("activation_function") is not None:
        renamed["activation_function"] = config["activation_function"]
        renamed["hidden_act"] = "silu"
    config = {**config, **renamed}
    return {**config, "rope_theta": rotary_theta(config, config.get("rope_theta", _THETA))}


FAMILY = Family(
    architecture="NomicBertModel",
    prefix="nomic_bert.",
    defaults=EncoderShape(
        family="nomic_bert",
        vocab_size=30528,
        max_positions=2048,
        activation="silu",
        dropout=0.0,
        attention_dropout=0.0,
        has_pooler=False,
        position_table=False,
        rotary_theta=_THETA,
        gated=True,
        attention_bias=False,
        intermediate_bias=False,
        output_bias=False,
    ),
    sizes={**SIZES, "rotary_theta": "rope_theta"},
    modules={
        "word_embeddings": "embeddings.word_embeddings",
        "type_embeddings": "embeddings.token_type_embeddings",
        "embedding_norm": "embeddings.LayerNorm",
    },
    layer="layers.{}",
    layer_modules={
        "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.output": "self_attn.o_proj",
        "attention_norm": "post_attention_layernorm",
        "intermediate": ("mlp.gate_proj", "mlp.up_proj"),
        "output": "mlp.down_proj",
        "output_norm": "post_mlp_layernorm",
    },
    classifier=Classifier("nomic_bert.pooler.dense"),
    only={
        "activation_function": "swiglu",
        "prenorm": False,
        "parallel_block": False,
        "use_rms_norm": False,
        "causal": False,
        "qkv_proj_bias": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "moe_every_n_layers": 0,
    },
    current=_current,
    older_names={
        "encoder.layers.": ("layers.",),
        "emb_ln.": ("embeddings.LayerNorm.",),
        "attn.Wqkv.": ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
        "attn.out_proj.": ("self_attn.o_proj.",),
        "fc11.": ("up_proj.",),
        "fc12.": ("gate_proj.",),
        "fc2.": ("down_proj.",),
        "norm1.": ("post_attention_layernorm.",),
        "norm2.": ("post_mlp_layernorm.",),
    },
)
