"""GTE v1.5 and multilingual (Zhang et al. 2024): BERT with rotary positions and a gated feed-forward sublayer."""

from dataclasses import replace
from typing import Any

from mbert_cli.encoder.families import Classifier
from mbert_cli.encoder.families._shared import rotary_theta
from mbert_cli.encoder.families.nomic_bert import FAMILY as _NOMIC
from mbert_cli.encoder.shape import EncoderShape

_THETA = 160_000.0


def _current(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "rope_theta": rotary_theta(config, config.get("rope_theta", _THETA))}


FAMILY = replace(
    _NOMIC,
    architecture="GteModel",
    prefix="gte.",
    defaults=EncoderShape(
        family="gte",
        vocab_size=250048,
        max_positions=8192,
        type_vocab_size=1,
        attention_dropout=0.0,
        has_pooler=False,
        position_table=False,
        rotary_theta=_THETA,
        gated=True,
        intermediate_bias=False,
    ),
    classifier=Classifier("gte.pooler.dense"),
    only={},
    current=_current,
    older_names={
        "new.": ("",),
        "encoder.layer.": ("layers.",),
        "attention.qkv_proj.": ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
        "attention.o_proj.": ("self_attn.o_proj.",),
        "mlp.up_gate_proj.": ("mlp.up_proj.", "mlp.gate_proj."),
        "attn_ln.": ("post_attention_layernorm.",),
        "mlp_ln.": ("post_mlp_layernorm.",),
    },
)
