"""The card and the record of an exported task: README.md and mbert.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from mbert_cli import __version__
from mbert_cli.encoder.location import is_hub_name
from mbert_cli.heads import ClassHead
from mbert_cli.heads.multi_label import MultiLabel
from mbert_cli.messages import one_line
from mbert_cli.model.saved_model import SavedModel

RECORD = "mbert.json"


@dataclass(frozen=True)
class Exported:
    """What the card and the record of an exported task contain besides facts about the model.

    Args:
        format: the value of `format` in mbert.json.
        library: the name on the Hub of the library that opens the folder.
        usage: Python code that uses the folder.
        notes: sentences about this format.
        pipeline: the kind of task, as a name of the Hub.
        record: more entries of mbert.json.
    """

    format: str
    library: str
    usage: str
    notes: Sequence[str] = field(default_factory=list)
    pipeline: str = "text-classification"
    record: Mapping[str, str] = field(default_factory=dict)


def write_card(folder: Path, saved: SavedModel, task: str, exported: Exported) -> None:
    """Write the card and the record of an exported task. They contain no local path."""
    record = {"format": exported.format, "mbert": __version__, "task": task, "model_sha256": saved.sha256}
    record |= exported.record
    (folder / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(saved, task, exported), encoding="utf-8")


def _card(saved: SavedModel, task: str, exported: Exported) -> str:
    section, name = saved.task(task), saved.section.encoder.checkpoint
    base = [f"base_model: {name}"] if is_hub_name(name) else []
    kinds = ", ".join(each.kind for each in saved.section.adapters_of(task)) or "none"
    facts = [
        f"encoder: `{one_line(name if is_hub_name(name) else PurePath(name).name)}`",
        f"adapters: {kinds}; pooling: {saved.section.pooling.kind}; head: {section.head.kind}",
        f"texts: {', '.join(map(one_line, section.text))}; at most {saved.tokenizer.max_length} tokens",
    ]
    parts = [
        "\n".join(["---", *base, f"library_name: {exported.library}", f"pipeline_tag: {exported.pipeline}", "---"]),
        f"# {one_line(task)}",
        f"One task of a multi-task model, exported by mbert {__version__} for {exported.library}.",
        "\n".join(f"- {fact}" for fact in facts),
        "\n".join(f"- {note}" for note in [*exported.notes, *differences(saved, task)]),
        "## Use",
        f"```python\n{exported.usage}\n```",
        "The license terms of the encoder and of the training data also apply to this model.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def differences(saved: SavedModel, task: str) -> list[str]:
    """Return, as sentences, where predictions of an exported task differ from those of `mbert predict`."""
    notes, head, section = [], saved.model.head(task), saved.task(task)
    if isinstance(head, ClassHead) and len(head.labels) == 2 and head.decision.cut:
        label = one_line(head.labels.names[1])
        notes.append(f"mbert predicts {label} if its probability is above {head.decision.threshold:.4f}.")
    if isinstance(head, MultiLabel) and any(head.decision.cuts.values()):
        thresholds = {name: round(head.decision.threshold(name), 4) for name in head.labels.names}
        notes.append(f"mbert predicts a label if its probability is above its threshold: {thresholds}.")
    if section.symmetric and "whole" in head.sides:
        notes.append("mbert averages over both orders of the two texts; this model reads only the given order.")
    if task in saved.limits.windows:
        notes.append("mbert reads longer texts in windows; this model cuts them.")
    return notes
