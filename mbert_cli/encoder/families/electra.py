"""ELECTRA (Clark et al. 2020), the discriminator: BERT without a pooler; small ones have factorised embeddings."""

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import ABSOLUTE, LAYER, LAYER_MODULES, MODULES, SIZES, without
from mbert_cli.encoder.shape import EncoderShape

FAMILY = Family(
    architecture="ElectraModel",
    prefix="electra.",
    defaults=EncoderShape(
        family="electra", embedding_size=128, hidden_size=256, num_heads=4, intermediate_size=1024, has_pooler=False
    ),
    sizes={**SIZES, "embedding_size": "embedding_size"},
    modules={**without(MODULES, "pooler"), "embedding_projection": "embeddings_project"},
    layer=LAYER,
    layer_modules=LAYER_MODULES,
    classifier=Classifier("classifier.dense", "classifier.out_proj", activation="gelu"),
    only=ABSOLUTE,
    written=ABSOLUTE,
)
