"""`mbert tasks import --from peft`: a task gets the adapter of a folder of peft."""

import json
import shutil

import pytest
import torch
from crashes import contents
from random_models import random_model, write_run
from safetensors.torch import load_file, save_file

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.errors import CheckpointError, MbertError, UsageError

LORA = {"kind": "lora", "rank": 2, "targets": ["query", "output"]}
CLASSES = {"kind": "classification", "labels": ["low", "mid", "high"]}
TEXTS = ["a cat", "man runs great", "dog on a street"]


@pytest.fixture(scope="module")
def work(tiny_checkpoint, tmp_path_factory):
    """A folder with a run and the folder of its adapter."""
    folder = tmp_path_factory.mktemp("import")
    write_run(folder / "run", random_model(folder, tiny_checkpoint, CLASSES, [LORA]))
    write_run(folder / "bare", random_model(folder, tiny_checkpoint, CLASSES))
    app(["export", str(folder / "run"), "--format", "peft", "-o", str(folder / "adapter"), "-q"], standalone_mode=False)
    return folder


def imported(*words):
    app(["tasks", "import", *map(str, words), "--from", "peft"], standalone_mode=False)


def predicted(run):
    return Predictor(run, device="cpu", precision="fp32", kernels="torch")(TEXTS, "mood")


def test_an_exported_adapter_is_read_back_with_the_same_bytes(work, tmp_path):
    imported(work / "run", work / "adapter", "-o", tmp_path / "new", "-q")
    assert contents(tmp_path / "new" / "tasks") == contents(work / "run" / "model" / "tasks")
    assert predicted(tmp_path / "new") == predicted(work / "run")


def test_a_changed_adapter_changes_predictions_and_the_card(work, tmp_path, capsys):
    adapter = shutil.copytree(work / "adapter", tmp_path / "changed")
    tensors = load_file(adapter / "adapter_model.safetensors")
    extra = {"base_model.model.classifier.weight": torch.ones(3, 16)}
    save_file({**{name: value * 2 for name, value in tensors.items()}, **extra}, adapter / "adapter_model.safetensors")
    imported(work / "run", adapter, "-o", tmp_path / "new")
    printed = capsys.readouterr().err.replace("\n", " ")
    assert "classifier.weight, which is not part of the adapter; task mood keeps its head" in printed
    assert predicted(tmp_path / "new") != predicted(work / "run")
    assert (
        "its adapter was then imported from peft (changed); the scores are those before the import"
        in (tmp_path / "new/README.md").read_text()
    )


def test_a_task_without_adapters_gets_one(work, tmp_path):
    imported(work / "bare", work / "adapter", "-o", tmp_path / "new", "-q", "-t", "mood")
    # The heads of both runs have the same random values.
    assert predicted(tmp_path / "new") != predicted(work / "bare")
    assert Predictor(tmp_path / "new").saved.section.adapters_of("mood")[0].kind == "lora"


def test_mistakes_are_one_line_and_write_nothing(work, tiny_checkpoint, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(work / "adapter", other)
    (other / "mbert.json").write_text(json.dumps({"encoder_sha256": "1" * 64, "task": "mood"}))
    wide = shutil.copytree(work / "adapter", tmp_path / "wide")
    tensors = load_file(wide / "adapter_model.safetensors")
    save_file({name: torch.ones(3, 3) for name in tensors}, wide / "adapter_model.safetensors")
    broken = shutil.copytree(work / "adapter", tmp_path / "broken")
    (broken / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
    new = tmp_path / "new"
    cases = [
        (
            [work / "run", work / "run"],
            CheckpointError,
            r"run: has no adapter_config\.json; give the folder of a PEFT adapter",
        ),
        ([work / "run", tmp_path / "gone"], CheckpointError, r"gone: has no adapter_config\.json"),
        ([work / "run", work / "adapter", other], UsageError, "--from peft reads one folder, but got 2"),
        ([work / "run", work / "adapter", "-t", "moood"], CheckpointError, "has no task 'moood'; did you mean 'mood'"),
        ([work / "run", other], CheckpointError, f"an encoder with sha256 {'1' * 64}, but the model's encoder has"),
        ([work / "run", wide], CheckpointError, r"does not fit the encoder: \S+ is \[3, 3\], expected \[2, 16\]"),
        ([work / "run", broken], CheckpointError, r"broken: the adapter has peft_type='LOHA', but mbert reads LORA"),
    ]
    for words, kind, message in cases:
        with pytest.raises(kind, match=message) as refusal:
            imported(*words, "-o", new)
        assert isinstance(refusal.value, MbertError)
        assert len(refusal.value.problems) == 1
        assert not new.exists()
    with pytest.raises(UsageError, match="-t mood: requires --from peft; remove it"):
        app(["tasks", "import", str(work / "run"), "x", "-t", "mood", "-o", str(new)], standalone_mode=False)
