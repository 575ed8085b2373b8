"""The procedure of `mbert export --format peft`: the adapter of one task, for the library PEFT.

adapter_config.json, adapter_model.safetensors   the adapter of the encoder, which peft loads on top of it
tokenizer*.json                                  the tokenizer, which cuts texts at the model's maximum length
README.md, mbert.json                            a card; the task and the model that was exported

The encoder and the head are not in the folder.
"""

import json
from pathlib import Path

from mbert_cli.adapters.prefix import Prefix
from mbert_cli.encoder.location import has_weights, is_hub_name, referred
from mbert_cli.errors import UsageError
from mbert_cli.export.export_card import Exported, write_card
from mbert_cli.export.not_expressible import NotExpressibleError
from mbert_cli.export.peft_adapters import to_peft
from mbert_cli.export.transformers import single_model
from mbert_cli.model.saved_model import SavedModel
from mbert_cli.model.tensor_files import write_tensors
from mbert_cli.storage.atomic import read_json
from mbert_cli.storage.model_folder import committed_model

FORMAT = "mbert-peft"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def export_peft(saved: SavedModel, task: str, folder: Path, base: str, sha256: str) -> None:
    """Write the adapter of one task.

    Args:
        saved: the model.
        task: the task.
        folder: an existing folder for the files.
        base: the encoder: a name on the Hub, or a folder.
        sha256: the SHA-256 of the encoder's weights.

    Raises:
        UsageError: the task has no adapter or several, or peft cannot express it.
    """
    model, kinds = single_model(saved), [each.kind for each in saved.section.adapters_of(task)]
    if len(kinds) != 1:
        raise UsageError(
            f"task {task}: a PEFT folder contains one adapter, but the task has {' and '.join(kinds) or 'none'}; use "
            "--format transformers, which folds adapters into the weights, or --format onnx."
        )
    (adapter,) = model.task(task).adapter_list()
    shape = model.encoder.shape
    try:
        if isinstance(adapter, Prefix):
            _check_types(saved, task)
        converted = to_peft(adapter, shape)
    except NotExpressibleError as problem:
        raise UsageError(f"task {task}: the adapter {kinds[0]} {problem}; use --format onnx.") from None
    config = {
        **converted.config,
        "task_type": "FEATURE_EXTRACTION",
        "base_model_name_or_path": base,
        "revision": saved.section.encoder.revision if is_hub_name(base) else None,
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tensors(folder / WEIGHTS, converted.tensors)
    has_types = shape.type_vocab_size > 1
    saved.tokenizer.save(folder, has_types)
    length = len(adapter.keys[0]) if isinstance(adapter, Prefix) else 0
    usage = _usage(base if is_hub_name(base) else "ENCODER", length, has_types)
    record = {"encoder_sha256": sha256}
    write_card(folder, saved, task, Exported(FORMAT, "peft", usage, _notes(length), "feature-extraction", record))


def base_of(run: Path, saved: SavedModel, encoder: str | None = None) -> str:
    """Return the location of the encoder of a model: a name on the Hub, or a folder.

    Args:
        run: the folder that `saved` was read from.
        saved: the model.
        encoder: the folder of the encoder, if it was moved.
    """
    folder = committed_model(run)
    if has_weights(folder / "encoder"):
        return str((folder / "encoder").absolute())
    name = saved.section.encoder.checkpoint
    if encoder is None and is_hub_name(name):
        return name
    return str(referred(folder, read_json(folder / "config.json"), instead=encoder).folder.absolute())


def _check_types(saved: SavedModel, task: str) -> None:
    pairs = "whole" in saved.model.head(task).sides and len(saved.task(task).text) > 1
    if pairs and saved.model.shape.type_vocab_size > 1:
        raise NotExpressibleError("reads pairs with token types, which peft ignores for prefixes")


def _notes(length: int) -> list[str]:
    notes = ["The folder contains neither the encoder nor the head of the task."]
    if length:
        notes.append(
            "peft counts positions from the start of the prefix, mbert from the start of the text. The code below "
            "moves the position table, so that both give the same states."
        )
    return notes


def _usage(base: str, length: int, has_types: bool) -> str:
    """Return Python code that loads the adapter on top of the encoder.

    Args:
        base: the name of the encoder, or a placeholder.
        length: number of positions of a prefix; 0 for other adapters.
        has_types: whether the encoder reads token types.
    """
    move_positions = [
        "table = encoder.embeddings.position_embeddings.weight",
        f"table.data = table.data.roll({length}, 0)",
    ]
    return "\n".join(
        [
            "from peft import PeftModel",
            "from transformers import AutoModel, AutoTokenizer",
            "",
            f'encoder = AutoModel.from_pretrained("{base}")',
            *(move_positions if length else []),
            'model = PeftModel.from_pretrained(encoder, "FOLDER").eval()',
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
            'tokens = tokenizer("A sentence.", truncation=True, return_tensors="pt")',
            *(['del tokens["token_type_ids"]  # peft ignores them for prefixes'] if length and has_types else []),
            "states = model(**tokens).last_hidden_state",
        ]
    )
