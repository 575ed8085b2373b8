import json
import shutil
import subprocess
import sys

import pytest
from tiny import write_checkpoint
from tiny_runs import train
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.encoder.location import find_encoder
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.model.components import load_recipe


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_checkpoint):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i}\t{text}\t{('bad', 'good')[i % 2]}" for i, text in enumerate(sentences(60, 1))]
    (tmp_path / "mood.tsv").write_text("\n".join(["id\ttext\tmood", *rows]) + "\n")
    shutil.copytree(tiny_checkpoint, tmp_path / "encoder")
    return tmp_path


def init(*words):
    app(["init", "mood.tsv", *map(str, words)], standalone_mode=False)
    return load_recipe("recipe.yaml" if "-o" not in words else words[words.index("-o") + 1])


@pytest.mark.parametrize(("output", "written"), [("recipe.yaml", "./encoder"), ("a/b/recipe.yaml", "../../encoder")])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_folder_is_written_relative_to_the_recipe(here, capsys, output, written, absolute):
    (here / output).parent.mkdir(parents=True, exist_ok=True)
    recipe = init("--encoder", here / "encoder" if absolute else "encoder", "-o", output)
    assert f"encoder: {{checkpoint: {written}}}" in (here / output).read_text()
    assert recipe.encoder.checkpoint == str(here / "encoder")
    # Embeddings (47 + 48 + 2) * 16, 2 layers of 4 * 272 + 544 + 528 + 64, a pooler of 272, a LayerNorm of 32.
    assert f"encoder: {written} (bert, 6,304 parameters), learning rate 5e-5" in capsys.readouterr().err


def test_paths_are_correct_if_the_folder_of_the_recipe_is_a_link(here):
    (here / "deep" / "er").mkdir(parents=True)
    (here / "link").symlink_to(here / "deep" / "er")
    recipe = init("--encoder", "encoder", "-o", "link/recipe.yaml")
    assert recipe.encoder.checkpoint == str(here / "encoder")
    assert (here / "deep" / "er" / "mood-train.tsv").samefile(recipe.tasks["mood"].train)


def test_a_variable_stays_in_the_recipe(here, monkeypatch):
    monkeypatch.setenv("MODELS", str(here))
    init("--encoder", "${MODELS}/encoder")
    assert "checkpoint: ${MODELS}/encoder" in (here / "recipe.yaml").read_text().replace('"', "").replace("'", "")


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("encoder", 5e-5),
        ("sentence-transformers/all-MiniLM-L6-v2", 5e-5),
        ("roberta-base", 2e-5),
        ("xlm-roberta-base", 2e-5),
        ("somebody/something", 2e-5),
        ("bert-large-cased", 1e-5),
        ("bge-m3", 1e-5),
    ],
)
def test_the_learning_rate_fits_the_size(here, capsys, name, rate):
    assert init("--encoder", name).training.learning_rate == rate
    assert f", learning rate {rate:.0e}".replace("e-0", "e-") in capsys.readouterr().err


def test_the_encoder_and_the_learning_rate_are_printed_without_the_option(here, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    init()
    line = "encoder: bert-base-uncased from the Hugging Face Hub (bert, 109,482,240 parameters), learning rate 2e-5"
    assert line in capsys.readouterr().err


def test_init_does_not_import_pytorch_without_the_option(here):
    code = "import sys; from mbert_cli.cli import app; app(['init', 'mood.tsv'], standalone_mode=False); "
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=here, check=False).returncode == 0


def test_max_length_is_at_most_the_number_of_positions(here, tmp_path):
    write_checkpoint(tmp_path / "short", max_position_embeddings=20)
    assert init("--encoder", "short").training.max_length == 20
    assert init("--encoder", "bert-base-cased", "-o", "other.yaml").training.max_length == 64


def test_windows_are_proposed_if_many_texts_are_longer_than_a_sequence(here, tmp_path, capsys):
    write_checkpoint(tmp_path / "short", max_position_embeddings=20)
    rows = [f"{'cat ' * (5 if i % 4 else 14)}{i}\t{'good' if i % 2 else 'bad'}" for i in range(40)]
    (tmp_path / "reviews.tsv").write_text("\n".join(["text\tmood", *rows]) + "\n")
    app(["init", "reviews.tsv", "--encoder", "short", "-o", "long.yaml"], standalone_mode=False)
    # A quarter of the texts has 15 words, for which init expects 22.5 tokens.
    line = (
        "reviews: about 25% of the texts are longer than 20 tokens, and training cuts them; to read them in windows, "
        "add tasks.reviews.windows: {stride: 10}"
    )
    assert line in capsys.readouterr().err
    assert f"# {line}\n" in (tmp_path / "long.yaml").read_text()
    load_recipe("long.yaml", ["tasks.reviews.windows={stride: 10}"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("robert-base", "if 'robert-base' is not on the Hub: did you mean 'roberta-base'?"),
        ("all-MiniLM-L6-v2", "did you mean 'sentence-transformers/all-MiniLM-L6-v2'?"),
        ("sentence-transformer/all-MiniLM-L6-v2", "did you mean 'sentence-transformers/all-MiniLM-L6-v2'?"),
        ("roberta-base", None),
        ("google-bert/bert-base-uncased", None),
        ("cardiffnlp/twitter-roberta-base", None),
    ],
)
def test_a_name_on_the_hub_is_not_refused_but_a_similar_one_is_suggested(here, capsys, name, hint):
    assert init("--encoder", name).encoder.checkpoint == name
    printed = capsys.readouterr().err
    assert hint in printed if hint else "did you mean" not in printed


def broken(folder, **config):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt", "gpt/config.json: model_type is 'gpt2', which is not supported. Known: albert, bert, "),
        ("bare", "bare: contains no tokenizer: neither tokenizer.json nor vocab.txt"),
        ("pickled", "pickled/pytorch_model.bin: pickled weights can run code, so mbert never opens them"),
        ("small", "--encoder: the tokenizer has 47 ids, but the encoder embeds 8; the checkpoint's files"),
        ("./none", "/none: the checkpoint folder does not exist; correct --encoder."),
        ("mood.tsv", "/mood.tsv: is a file, but --encoder must be the folder that contains model.safetensors"),
        ("a/b/c", "--encoder 'a/b/c': there is no such folder, and a name on the Hub has the form OWNER/NAME"),
        ("", "--encoder is empty."),
        ("package:missing/x", "package:missing/x: the package 'missing' is not installed"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_refused_before_a_file_is_written(here, name, message):
    for copy in ("gpt", "bare", "pickled", "small"):
        shutil.copytree(here / "encoder", here / copy)
    broken(here / "gpt", model_type="gpt2")
    broken(here / "small", vocab_size=8)
    (here / "bare" / "tokenizer.json").unlink()
    (here / "pickled" / "model.safetensors").rename(here / "pickled" / "pytorch_model.bin")
    before = sorted(here.rglob("*"))
    with pytest.raises((CheckpointError, UsageError)) as refusal:
        init("--encoder", name)
    assert message in str(refusal.value)
    assert sorted(here.rglob("*")) == before


def test_a_run_is_an_encoder(here, tiny_recipe):
    (here / "run").mkdir()
    train(tiny_recipe, here / "run", "training.epochs=1", "curriculum=simultaneous")
    checkpoint = init("--encoder", "run", "-o", "new.yaml").encoder.checkpoint
    assert checkpoint == str(here / "run")
    assert find_encoder(checkpoint).run == here / "run"
