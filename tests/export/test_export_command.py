"""`mbert export`: its messages, its folders, and mistakes."""

import json
import re

import commands
import numpy as np
import pytest
import torch
from crashes import contents
from random_models import random_model, untrained, write_run
from typer.testing import CliRunner
from word_salad import sentences

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.commands.guide import PAGES
from mbert_cli.errors import ResourceError, UsageError
from mbert_cli.model.ensemble import Ensemble
from mbert_cli.storage import atomic

CLASSES = {"kind": "classification", "labels": ["low", "mid", "high"]}


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


@pytest.fixture(scope="module")
def run(tiny_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    saved = random_model(folder, tiny_checkpoint, CLASSES, [{"kind": "ia3"}], windows={"stride": 4})
    return write_run(folder / "a", saved)


def export(*words):
    app(["export", *map(str, words)], standalone_mode=False)


def test_an_exported_folder_predicts_as_the_run_and_the_message_names_the_differences(run, tmp_path, capsys):
    export(run, "--format", "transformers", "-o", tmp_path / "out")
    printed = capsys.readouterr().err.replace("\n", " ")
    assert "out; open it with AutoModelForSequenceClassification or AutoModel of transformers" in printed
    assert "task mood: mbert reads longer texts in windows; this model cuts them." in printed
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "mbert.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    texts = [" ".join(text.split()[:5]) for text in sentences(10, 5)]
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")(**tokens).logits
    expected = Predictor(run, device="cpu", precision="fp32", kernels="torch")(texts)
    ours = torch.tensor([expected[f"p_{label}"] for label in CLASSES["labels"]]).T
    assert (logits.softmax(-1) - ours).abs().max() <= 1e-6


def test_the_code_of_the_card_and_of_the_guide_runs(run, tmp_path, capsys, monkeypatch):
    export(run, "--format", "transformers", "-o", tmp_path / "mood", "-q")
    card = (tmp_path / "mood" / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(card.split("```python\n")[1].split("```")[0].replace("FOLDER", "mood"), {})
    assert "logits" in capsys.readouterr().out
    (code,) = [each for each in blocks_of(PAGES / "export.md") if "pipeline" in each]
    exec(code, {})
    assert "'label': 'mid'" in capsys.readouterr().out


def test_force_replaces_an_export_and_nothing_else(run, tmp_path):
    out = tmp_path / "out"
    words = (run, "--format", "transformers", "-o", out, "-q")
    export(*words)
    before = contents(out)
    with pytest.raises(UsageError, match=r"out: exists; replace it with --force, or choose another folder\."):
        export(*words)
    export(*words, "--force")
    assert contents(out) == before
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"out: contains files that mbert export did not write; choose another folder"):
        export(*words, "--force")


def test_several_tasks_an_unknown_task_and_an_ensemble_are_refused(tiny_recipe, tiny_checkpoint, tmp_path):
    saved = random_model(tmp_path, tiny_checkpoint, CLASSES)
    with pytest.raises(UsageError, match=r"--format transformers exports one task; choose it with --task: mood, same"):
        export(
            write_run(tmp_path / "two", untrained(tiny_recipe, "tasks.near=null")),
            "--format",
            "transformers",
            "-o",
            tmp_path / "out",
        )
    with pytest.raises(Exception, match=r"the model has no task 'moood'; did you mean 'mood'\?"):
        export(tmp_path / "two", "--format", "transformers", "-t", "moood", "-o", tmp_path / "out")
    object.__setattr__(saved, "model", Ensemble([saved.model, saved.model]))
    with pytest.raises(UsageError, match=r"an ensemble of 2, which only --format onnx can export; .* RUN/members/1"):
        export(write_run(tmp_path / "both", saved), "--format", "transformers", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--format", "transfomers"],
            "--format: 'transfomers' is not one of 'onnx', 'transformers', 'sentence-transformers', 'peft'",
        ),
        (
            ["--no-head"],
            "--no-head: --format onnx always exports the head; remove it, or use --format transformers.",
        ),
        (["--no-head", "--format", "peft"], "--no-head: --format peft never exports the head; remove it, or use"),
        (["--format", "transformers", "--head"], "there is no option --head; did you mean '--no-head'?"),
    ],
)
def test_mistakes_of_the_command_line_are_one_line(words, message, run, tmp_path):
    done = commands.mbert("export", run, "-o", "out", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_sync", fail)
    with pytest.raises(ResourceError, match=r"out: the disk is full; free some space and run the command again"):
        export(run, "--format", "transformers", "-o", tmp_path / "out", "-q")
    assert not list(tmp_path.iterdir())


def test_vectors_for_sentence_transformers_are_those_of_embed(run, tmp_path, capsys):
    library = pytest.importorskip("sentence_transformers")
    with pytest.raises(UsageError, match=r"task mood: sentence-transformers has no heads for single texts"):
        export(run, "--format", "sentence-transformers", "-o", tmp_path / "mood")
    export(run, "--format", "sentence-transformers", "--no-head", "-o", tmp_path / "mood")
    assert "open it with SentenceTransformer of sentence-transformers" in capsys.readouterr().err.replace("\n", " ")
    texts = ["a cat", "man runs great"]
    theirs = library.SentenceTransformer(str(tmp_path / "mood"), device="cpu").encode(texts)
    ours = Predictor(run, device="cpu", precision="fp32", kernels="torch").embed(texts, "mood")
    assert np.abs(ours - theirs).max() <= 1e-5


def test_an_adapter_for_peft_names_its_encoder(run, tiny_checkpoint, tmp_path, capsys):
    export(run, "--format", "peft", "-o", tmp_path / "out")
    printed = capsys.readouterr().err.replace("\n", "")
    assert "open it with PeftModel of peft, on top of the encoder" in printed
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_checkpoint)
    saved = random_model(tmp_path, tiny_checkpoint, CLASSES, [{"kind": "ia3"}])
    trained = write_run(tmp_path / "trained", saved, encoder_changed=True)
    export(trained, "--format", "peft", "-o", tmp_path / "out", "--force", "-q")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(trained / "model" / "encoder")


def test_help_lists_the_formats():
    text = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "120"}).output
    assert all(f" {name}: " in text for name in ("onnx", "transformers", "sentence-transformers", "peft"))


@pytest.mark.real_weights
def test_a_real_encoder_gives_the_same_logits(minilm, tmp_path):
    from random_models import outputs_of
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    adapters = [{"kind": "lora"}, {"kind": "top"}]
    saved = random_model(tmp_path, minilm, CLASSES, adapters, texts=2, max_length=64, std=0.02)
    export(write_run(tmp_path / "run", saved), "--format", "transformers", "-o", tmp_path / "out", "-q")
    firsts = ["The soup was cold.", "A man is playing a guitar on stage.", "Naïve café, 1999!"]
    seconds = ["The shop opens at nine.", "Someone plays music. " * 20, "?"]
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")(
        firsts, seconds, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")(**tokens).logits
    assert (outputs_of(saved, firsts, seconds) - theirs).abs().max() <= 1e-5
    assert theirs.std(0).min() > 1e-2
    assert json.loads((tmp_path / "out" / "mbert.json").read_text())["task"] == "mood"
