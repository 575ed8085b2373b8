"""BERT (Devlin et al. 2018), and the many encoders that use its architecture: MiniLM, BGE, E5, GTE-small ..."""

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import ABSOLUTE, LAYER, LAYER_MODULES, MODULES, SIZES
from mbert_cli.encoder.shape import EncoderShape

FAMILY = Family(
    architecture="BertModel",
    prefix="bert.",
    defaults=EncoderShape(),
    sizes=SIZES,
    modules=MODULES,
    layer=LAYER,
    layer_modules=LAYER_MODULES,
    classifier=Classifier("bert.pooler.dense"),
    only=ABSOLUTE,
    written=ABSOLUTE,
)
