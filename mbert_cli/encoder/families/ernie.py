"""ERNIE 2 and 3 (Sun et al. 2020): BERT; some checkpoints add an embedding of the pretraining task to every token."""

from mbert_cli.encoder.families import Classifier, Family
from mbert_cli.encoder.families._shared import ABSOLUTE, LAYER, LAYER_MODULES, MODULES, SIZES
from mbert_cli.encoder.shape import EncoderShape

FAMILY = Family(
    architecture="ErnieModel",
    prefix="ernie.",
    defaults=EncoderShape(family="ernie", task_type_vocab_size=3, uses_task_types=False),
    sizes={**SIZES, "task_type_vocab_size": "task_type_vocab_size", "uses_task_types": "use_task_id"},
    modules={**MODULES, "task_type_embeddings": "embeddings.task_type_embeddings"},
    layer=LAYER,
    layer_modules=LAYER_MODULES,
    classifier=Classifier("ernie.pooler.dense"),
    only=ABSOLUTE,
    written=ABSOLUTE,
)
