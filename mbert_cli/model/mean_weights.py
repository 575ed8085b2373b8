"""Models with the mean of the weights of several runs of one recipe, a "model soup".

Source: Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time".
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mbert_cli.data.labels import NamedLabels
from mbert_cli.encoder.checkpoint import read_shape, save_weights
from mbert_cli.encoder.location import WEIGHTS
from mbert_cli.errors import UsageError
from mbert_cli.model.components import build_labels
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.saved_model import write_texts
from mbert_cli.model.saved_parts import ModelFiles
from mbert_cli.model.tensor_files import write_tensors
from mbert_cli.storage.model_folder import section_of

FUSED = "fused"
"""The key of config.json that names the runs whose weights were averaged."""
_HASH_DIGITS = 12  # of a SHA-256, in messages


def check_alike(models: Sequence[ModelFiles]) -> None:
    """Check that the weights of models can be averaged.

    Raises:
        UsageError: a model is an ensemble; or encoder sizes, tokenizers, poolings, adapters or tasks differ. The
            message contains both values.
    """
    for model in models:
        if model.is_ensemble:
            raise UsageError(f"{model.run}: is an ensemble; fuse its members, such as {model.run}/members/1.")
    first = _facts(models[0])
    for model in models[1:]:
        own = _facts(model)
        for name in {**first, **own}:
            if first.get(name) != own.get(name):
                one, two = (values.get(name, "none") for values in (first, own))
                raise UsageError(
                    f"{model.run}: {name} is {two}, but that of {models[0].run} is {one}; fuse runs of one recipe."
                )


def _facts(model: ModelFiles) -> dict[str, str]:
    """Return the properties that must be equal in all models, by their names in messages."""
    section = model.section
    facts = {"the number of tokens that texts are cut at": str(model.config["max_length"])}
    facts |= {f"the encoder's {key}": str(value) for key, value in asdict(read_shape(model.folder / "encoder")).items()}
    facts |= {"the SHA-256 of the tokenizer": model.tokenizer_hash[:_HASH_DIGITS]}
    facts |= {"the pooling": section.pooling.describe(), "the list of tasks": ", ".join(sorted(section.tasks))}
    for name, task in section.tasks.items():
        facts[f"the head of task {name}"] = task.head.kind
        facts[f"the text of task {name}"] = ", ".join(task.text)
        labels = build_labels(task.head)
        facts[f"the list of labels of task {name}"] = labels.known() if isinstance(labels, NamedLabels) else "numbers"
        facts[f"the list of adapters of task {name}"] = (
            " + ".join(each.describe() for each in section.adapters_of(name)) or "none"
        )
    return facts


def weights_of(model: MultiTaskBert) -> dict[str, Tensor]:
    """Return copies of all weights of a model, on the CPU: of the encoder, and of each task by its name."""
    parts = {"encoder": model.encoder.state_dict()}
    parts |= {f"tasks.{name}": model.task(name).state_dict() for name in model.task_names}
    return {f"{part}.{name}": value.cpu().clone() for part, values in parts.items() for name, value in values.items()}


def mean_of(weights: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of the weights of runs, computed in float64.

    Args:
        weights: for the name of each run, its weights by their names.

    Raises:
        UsageError: names or shapes differ.
    """
    (first, own), *others = weights.items()
    means = {}
    for name, value in own.items():
        for run, other in others:
            if name not in other or other[name].shape != value.shape:
                size = list(other[name].shape) if name in other else "missing"
                raise UsageError(
                    f"{run}: {name} is {size}, but that of {first} is {list(value.shape)}; fuse runs of one recipe."
                )
        if all(torch.equal(value, other[name]) for _, other in others):
            means[name] = value  # without rounding
        else:
            means[name] = torch.stack([each[name].double() for each in weights.values()]).mean(0).to(value.dtype)
    return means


def set_weights(model: MultiTaskBert, weights: Mapping[str, Tensor]) -> None:
    """Set all weights of a model."""
    modules = {"encoder.": model.encoder, **{f"tasks.{name}.": model.task(name) for name in model.task_names}}
    for start, module in modules.items():
        module.load_state_dict(
            {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
        )


def write_fused(
    folder: Path, models: Sequence[ModelFiles], model: MultiTaskBert, scores: Mapping[str, Any], how: str
) -> None:
    """Write a model with averaged weights.

    Args:
        folder: an existing, empty folder.
        models: the models whose weights were averaged. Settings and texts of the card are those of the first one.
        model: the model with the mean.
        scores: its metrics on dev, as `write_model` gets them.
        how: how the models were chosen, for the card.

    Raises:
        CheckpointError: a model was replaced after it was opened.
    """
    for each in models:
        each.check_unchanged()
    base = models[0]
    same_encoder = len({sha256 for each in models for sha256 in each.encoder_hashes}) == 1
    for name in base.hashes:
        if name.startswith("encoder/") and (
            same_encoder or not name.endswith((WEIGHTS, ".safetensors", ".index.json"))
        ):
            (folder / "encoder").mkdir(exist_ok=True)
            shutil.copyfile(base.folder / name, folder / name)
    if not same_encoder:
        save_weights(model.encoder, folder / "encoder")
    for name in model.task_names:
        write_tensors(folder / "tasks" / f"{name}.safetensors", model.task(name).state_dict())
    config = _config(folder, models, scores, how, same_encoder)
    write_texts(folder, config, section_of(config, folder, lambda *_: []))


def _config(
    folder: Path, models: Sequence[ModelFiles], scores: Mapping[str, Any], how: str, same_encoder: bool
) -> dict[str, Any]:
    base = models[0]
    config: dict[str, Any] = json.loads(json.dumps(base.config))
    config["scores"] = scores
    names = [each.run.name or each.run.resolve().name for each in models]
    card = config.setdefault("card", {})
    card["training"] = [*card.get("training", []), f"the mean of the weights of {how}: {', '.join(names)}"]
    config[FUSED] = [{"run": name, "sha256": each.sha256} for name, each in zip(names, models, strict=True)]
    if not same_encoder:
        config.pop("encoder_sha256", None)
        config.pop("encoder_path", None)
    elif "encoder_path" in config:
        config["encoder_path"] = base.encoder_path_from(folder)
    return config
