"""The procedure of `mbert export --format transformers`: one task as a checkpoint that transformers opens.

model.safetensors, config.json   the encoder with the task's adapters in its weights, and the head
tokenizer*.json                  the tokenizer, which cuts texts at the model's maximum length
README.md, mbert.json            a card; the task and the model that was exported
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mbert_cli.encoder.checkpoint import encoder_config, named_tensors
from mbert_cli.encoder.families import Classifier, Family, family
from mbert_cli.encoder.location import WEIGHTS
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.errors import UsageError
from mbert_cli.export.export_card import Exported, write_card
from mbert_cli.export.linear_head import LinearHead, linear_head
from mbert_cli.export.not_expressible import NotExpressibleError
from mbert_cli.export.plain_encoder import plain_encoder
from mbert_cli.export.sequence_head import SequenceHead, with_pooler, without_pooler
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_model import SavedModel

FORMAT = "mbert-transformers"
_REMEDY = "use --format onnx, or --no-head for the encoder alone"


def export_transformers(saved: SavedModel, task: str, folder: Path, head: bool = True) -> str:
    """Write one task of a model as a checkpoint.

    Args:
        saved: the model.
        task: the task.
        folder: an existing folder for the files.
        head: write the head as well; otherwise only the encoder, which `AutoModel` opens.

    Returns:
        The classes that open the folder.

    Raises:
        UsageError: the class for sequence classification of the encoder's family cannot compute the task.
    """
    model = single_model(saved)
    encoder = plain_encoder(model, task, [each.kind for each in saved.section.adapters_of(task)])
    if head:
        _write_classifier(saved, task, folder, encoder)
    else:
        write_encoder(encoder, folder)
    saved.tokenizer.save(folder, encoder.shape.type_vocab_size > 1)
    write_card(folder, saved, task, Exported(FORMAT, "transformers", _usage(saved, task, head), _notes(saved, head)))
    return "AutoModelForSequenceClassification or AutoModel" if head else "AutoModel"


def single_model(saved: SavedModel) -> MultiTaskBert:
    """Return the model of a saved model.

    Raises:
        UsageError: it is an ensemble.
    """
    if not isinstance(saved.model, MultiTaskBert):
        raise UsageError(
            f"the model is an ensemble of {len(saved.model.members())}, which only --format onnx can export; or export "
            "one of its members, such as RUN/members/1."
        )
    return saved.model


def write_encoder(encoder: PackedEncoder, folder: Path) -> None:
    """Write an encoder as a checkpoint that `AutoModel` opens."""
    save_file(dict(named_tensors(encoder)), folder / WEIGHTS, metadata={"format": "pt"})
    _write_config(folder, encoder_config(encoder.shape))


def _write_classifier(saved: SavedModel, task: str, folder: Path, encoder: PackedEncoder) -> None:
    of_type = family(encoder.shape.family)
    names, architecture = of_type.classifier, sequence_class(of_type)
    linear = linear_head(saved, task, _REMEDY)
    pooling = saved.section.pooling.kind
    if pooling != "cls" and not (pooling == "mean" and names.pooling_key):
        raise UsageError(
            f"task {task}: {architecture} reads the first token, but the pooling of the model is {pooling}; {_REMEDY}."
        )
    try:
        sequence_head = _sequence_head(saved, encoder, linear, names)
    except NotExpressibleError as problem:
        raise UsageError(f"task {task}: {architecture} {problem}; {_REMEDY}.") from None
    tensors = {f"{of_type.prefix}{name}": value for name, value in named_tensors(encoder)}
    pooler = f"{of_type.prefix}{of_type.modules.get('pooler', 'pooler')}."
    tensors = {name: value for name, value in tensors.items() if not name.startswith(pooler)}
    tensors |= sequence_head.tensors(names, encoder.shape.norm_bias)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = {**encoder_config(encoder.shape), "architectures": [architecture], **names.written}
    if names.activation_key:
        config[names.activation_key] = sequence_head.activation
    if names.pooling_key:
        config[names.pooling_key] = pooling
    labels = {"id2label": dict(enumerate(linear.labels)), "label2id": {each: k for k, each in enumerate(linear.labels)}}
    # CrossEncoder of sentence-transformers also opens this folder; its default for one output is a sigmoid.
    cross_encoder = {"activation_fn": "torch.nn.modules.linear.Identity"}
    _write_config(
        folder, {**config, **labels, "problem_type": linear.problem_type, "sentence_transformers": cross_encoder}
    )


def sequence_class(of_type: Family) -> str:
    """Return the name of a family's class for sequence classification."""
    return of_type.architecture.removesuffix("Model") + "ForSequenceClassification"


def _sequence_head(saved: SavedModel, encoder: PackedEncoder, linear: LinearHead, names: Classifier) -> SequenceHead:
    assert isinstance(saved.model, MultiTaskBert)
    if not saved.model.pooling.pooler:
        return without_pooler(linear, names)
    assert encoder.pooler is not None  # checked by `build_model`
    return with_pooler(linear, names, encoder.pooler)


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    text = json.dumps({**config, "dtype": "float32"}, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def _notes(saved: SavedModel, head: bool) -> list[str]:
    if not head or (isinstance(saved.model, MultiTaskBert) and saved.model.pooling.pooler):
        return []
    return [
        "The first layer of the head is set so that its activation has no effect in fp32 and bf16. Do not use fp16, "
        "and do not train the head further. `pooler_output` of `AutoModel` has no meaning."
    ]


def _usage(saved: SavedModel, task: str, head: bool) -> str:
    """Return Python code that uses the checkpoint."""
    kind = "AutoModelForSequenceClassification" if head else "AutoModel"
    texts = ", ".join(['"A sentence."'] * len(saved.task(task).text))
    return f"""\
import torch
from transformers import {kind}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = {kind}.from_pretrained("FOLDER").eval()
with torch.no_grad():
    print(model(**tokenizer({texts}, truncation=True, return_tensors="pt")))"""
