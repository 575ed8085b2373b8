"""The procedure of `mbert export --format sentence-transformers`: one task as a model of that library.

A task that reads both texts of a pair in one sequence becomes a `CrossEncoder`, other tasks a `SentenceTransformer`.

modules.json             the modules in their order: the encoder, the pooling, linear layers, normalisation
N_NAME/                  the settings and weights of a module; those of the encoder are in the folder itself
tokenizer*.json          the tokenizer, which cuts texts at the model's maximum length
README.md, mbert.json    a card; the task and the model that was exported
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mbert_cli.errors import UsageError
from mbert_cli.export.export_card import Exported, write_card
from mbert_cli.export.linear_head import linear_head
from mbert_cli.export.plain_encoder import plain_encoder
from mbert_cli.export.transformers import single_model, write_encoder
from mbert_cli.heads.cosine_similarity import CosineSimilarity
from mbert_cli.model.saved_model import SavedModel
from mbert_cli.model.tensor_files import write_tensors

FORMAT = "mbert-sentence-transformers"
_REMEDY = "use --format onnx, or --no-head for the vectors of texts"
_IDENTITY, _SIGMOID, _TANH, _RELU = (
    f"torch.nn.modules.{path}"
    for path in ("linear.Identity", "activation.Sigmoid", "activation.Tanh", "activation.ReLU")
)
_VECTOR, _SCORES = "sentence_embedding", "scores"


@dataclass(frozen=True)
class Module:
    """One module of a model of sentence-transformers.

    Args:
        kind: the name of its class.
        config: its settings.
        tensors: its weights.
    """

    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def export_sentence_transformers(saved: SavedModel, task: str, folder: Path, head: bool = True) -> str:
    """Write one task of a model as a model of sentence-transformers.

    Args:
        saved: the model.
        task: the task.
        folder: an existing folder for the files.
        head: include the head; otherwise `encode` returns the vectors of `mbert embed`.

    Returns:
        The class that opens the folder.

    Raises:
        UsageError: the library cannot express the task.
    """
    model = single_model(saved)
    encoder = plain_encoder(model, task, [each.kind for each in saved.section.adapters_of(task)])
    hidden, pairs = encoder.shape.hidden_size, head and is_cross_encoder(saved, task)
    kind = "CrossEncoder" if pairs else "SentenceTransformer"
    modules = [Module("Pooling", _pooling(task, saved.section.pooling.kind, hidden))]
    if model.pooling.pooler:
        assert encoder.pooler is not None  # checked by `build_model`
        modules.append(_dense(encoder.pooler.weight, encoder.pooler.bias, _TANH))
    modules += (_scores(saved, task) if pairs else _similarity(saved, task)) if head else []
    write_encoder(encoder, folder)
    saved.tokenizer.save(folder, encoder.shape.type_vocab_size > 1)
    _write_modules(folder, modules, saved.tokenizer.max_length)
    settings = {"activation_fn": _IDENTITY} if pairs else {"similarity_fn_name": "cosine"}
    _write(folder / "config_sentence_transformers.json", {"model_type": kind, "prompts": {}, **settings})
    pipeline = "text-classification" if pairs else "sentence-similarity"
    write_card(
        folder,
        saved,
        task,
        Exported(FORMAT, "sentence-transformers", _usage(kind), _notes(saved, task, head), pipeline),
    )
    return kind


def is_cross_encoder(saved: SavedModel, task: str) -> bool:
    """Whether the head of a task reads both texts of a pair in one sequence, and nothing else."""
    return saved.model.head(task).sides == ("whole",) and len(saved.task(task).text) > 1


def _scores(saved: SavedModel, task: str) -> list[Module]:
    """Return the modules of a cross-encoder's head, whose last output is called `scores`."""
    head = linear_head(saved, task, _REMEDY)
    if head.limits is None:
        return [_dense(head.weight, head.bias, _IDENTITY, _SCORES)]
    low, high = head.limits
    scale = _dense(torch.tensor([[high - low]]), torch.tensor([low]), _IDENTITY, _SCORES)
    return [_dense(head.weight, head.bias, _SIGMOID), scale]


def _similarity(saved: SavedModel, task: str) -> list[Module]:
    """Return the modules after which the cosine of two vectors is the `score` that mbert predicts."""
    head = saved.model.head(task)
    if isinstance(head, CosineSimilarity):
        between = _RELU if isinstance(head.between, nn.ReLU) else _IDENTITY
        first = _dense(head.first.weight, head.first.bias, between)
        return [first, _dense(head.second.weight, head.second.bias, _IDENTITY), Module("Normalize")]
    if head.sides == ("whole",):
        raise UsageError(
            f"task {task}: sentence-transformers has no heads for single texts; use --no-head for their vectors, or "
            "--format transformers."
        )
    raise UsageError(
        f"task {task}: sentence-transformers compares two texts by their cosine, but the head "
        f"{saved.task(task).head.kind} does more; {_REMEDY}."
    )


def _pooling(task: str, kind: str, hidden: int) -> dict[str, Any]:
    """Return the settings of the module that pools the hidden states."""
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    if kind not in modes:
        raise UsageError(f"task {task}: sentence-transformers has no pooling {kind}; use --format onnx.")
    return {"word_embedding_dimension": hidden, **{f"pooling_mode_{mode}": kind == key for key, mode in modes.items()}}


def _dense(weight: Tensor, bias: Tensor, activation: str, output: str = _VECTOR) -> Module:
    out_features, in_features = weight.shape
    config = {
        "in_features": in_features,
        "out_features": out_features,
        "bias": True,
        "activation_function": activation,
        "module_input_name": _VECTOR,
        "module_output_name": output,
    }
    return Module("Dense", config, {"linear.weight": weight.float(), "linear.bias": bias.float()})


def _write_modules(folder: Path, modules: Sequence[Module], max_length: int) -> None:
    names = ["", *(f"{number}_{each.kind}" for number, each in enumerate(modules, 1))]
    kinds = ["Transformer", *(each.kind for each in modules)]
    # All versions of the library know the classes by these names.
    rows = [
        {"idx": number, "name": str(number), "path": name, "type": f"sentence_transformers.models.{kind}"}
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    _write(folder / "modules.json", rows)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    for name, module in zip(names[1:], modules, strict=True):
        (folder / name).mkdir()
        _write(folder / name / "config.json", module.config)
        if module.tensors:
            write_tensors(folder / name / "model.safetensors", module.tensors)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _notes(saved: SavedModel, task: str, head: bool) -> list[str]:
    own = saved.model.head(task)
    if head and isinstance(own, CosineSimilarity):
        return [
            "The cosine of two vectors is the column `score` of mbert. mbert predicts a value from "
            f"{own.labels.low:g} to {own.labels.high:g}, which it computes from the cosine with the activation "
            f"`{own.activation}`."
        ]
    if head and is_cross_encoder(saved, task) and saved.task(task).head.kind in ("classification", "multi_label"):
        function = "softmax" if saved.task(task).head.kind == "classification" else "sigmoid"
        names = linear_head(saved, task, _REMEDY).labels
        return [f"The scores are logits of {', '.join(names)}; their {function} is the probability of each."]
    return []


def _usage(kind: str) -> str:
    """Return Python code that uses the folder."""
    if kind == "CrossEncoder":
        return f"""\
from sentence_transformers import {kind}

print({kind}("FOLDER").predict([("A sentence.", "Another sentence.")]))"""
    return f"""\
from sentence_transformers import {kind}

model = {kind}("FOLDER")
vectors = model.encode(["A sentence.", "Another sentence."])
print(model.similarity(vectors[0], vectors[1]))"""
