"""MPNet (Song et al. 2020): BERT without token types, with a bias on attention scores by distance."""

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import LAYER, MODULES, SIZES, without
from mbert_cli.encoder.shape import EncoderShape

_BUCKETS = {"relative_attention_num_buckets": 32}  # transformers computes with 32, whatever config.json says

FAMILY = Family(
    architecture="MPNetModel",
    prefix="mpnet.",
    defaults=EncoderShape(
        family="mpnet", vocab_size=30527, type_vocab_size=0, max_positions=510, first_position=2, relative_buckets=32
    ),
    sizes={**without(SIZES, "type_vocab_size"), "first_position": "pad_token_id"},
    modules={**without(MODULES, "type_embeddings"), "positions.bias.table": "encoder.relative_attention_bias"},
    layer=LAYER,
    layer_modules={
        "attention.qkv": ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        "attention.output": "attention.attn.o",
        "attention_norm": "attention.LayerNorm",
        "intermediate": "intermediate.dense",
        "output": "output.dense",
        "output_norm": "output.LayerNorm",
    },
    classifier=Classifier("classifier.dense", "classifier.out_proj"),
    only=_BUCKETS,
    written={**_BUCKETS, "bos_token_id": 0, "eos_token_id": 2},
)
