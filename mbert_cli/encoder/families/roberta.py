"""RoBERTa (Liu et al. 2019): BERT whose positions start after the id of the padding token."""

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import ABSOLUTE, LAYER, LAYER_MODULES, MODULES, SIZES
from mbert_cli.encoder.shape import EncoderShape

FAMILY = Family(
    architecture="RobertaModel",
    prefix="roberta.",
    defaults=EncoderShape(family="roberta", vocab_size=50265, max_positions=510, first_position=2),
    sizes={**SIZES, "first_position": "pad_token_id"},
    modules=MODULES,
    layer=LAYER,
    layer_modules=LAYER_MODULES,
    classifier=Classifier("classifier.dense", "classifier.out_proj"),
    only=ABSOLUTE,
    written={**ABSOLUTE, "bos_token_id": 0, "eos_token_id": 2},
)
