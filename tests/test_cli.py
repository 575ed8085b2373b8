import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import sentences


def mbert(*words, cwd, stdin=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mbert_cli.cli", *map(str, words)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


@pytest.fixture
def run(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "--precision", "fp32", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "-h"], ["--version"], ["recipes", "ls"], ["recipes", "cat", "demo"]]
)
def test_help_does_not_import_torch(words, tmp_path):
    code = (
        "import sys; sys.argv = ['mbert', *sys.argv[1:]]\n"
        "from mbert_cli.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_train_says_one_line_an_epoch_on_stderr(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "training.epochs=3", cwd=tmp_path)
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stderr.splitlines()[1:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert done.stdout.startswith("kept the model of epoch")


def test_quiet_train_says_nothing_and_json_prints_metrics(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "-q", "--json", cwd=tmp_path)
    assert done.stderr == ""
    assert set(json.loads(done.stdout)["tasks"]) == {"mood", "same", "near"}


def test_flags_override_the_recipe(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "-b", "5", "--seed", "3", "--limit", "6", cwd=tmp_path)
    assert done.returncode == 0
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "batch_size: 5" in text
    assert "seed: 3" in text
    assert "mood 6/6" in done.stderr


def misspelt(tiny_recipe, tmp_path, old, new):
    text = tiny_recipe.read_text()
    assert old in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(old, new, 1))
    return path, path.read_text().splitlines().index(next(li for li in path.read_text().splitlines() if new in li)) + 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"low_rank"', '"lowrank"', "adapters[0].kind is 'lowrank'; did you mean 'low_rank'? Known: low_rank, top."),
        ('"rank": 4', '"rnk": 4', "adapters[0].rnk is not a known key; did you mean 'rank'?"),
        ('"epochs"', '"epoch"', "training.epoch is not a known key; did you mean 'epochs'?"),
        ('"mean"', '"men"', "pooling.kind is 'men'; did you mean 'mean'? Known: cls, max, mean."),
        ("mood-train.tsv", "mod-train.tsv", "did you mean 'mood-train.tsv'?"),
    ],
)
def test_a_misspelt_recipe_gives_one_line_with_its_place(tiny_recipe, tmp_path, old, new, said):
    path, line = misspelt(tiny_recipe, tmp_path, old, new)
    done = mbert("train", path.name, "-o", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"bad.yaml:{line}: ")
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ('"label": "mood"', '"label": "mod"', "mood-train.tsv:1", "did you mean 'mood'? Known: id, mood, text."),
        ('"text": "text"', '"text": "txt"', "mood-train.tsv:1", "did you mean 'text'?"),
        ('"mid"', '"middle"', "mood-train.tsv:", "mood must be one of low, middle, high, but is 'mid'"),
    ],
)
def test_a_misspelt_column_or_label_gives_one_line_with_its_place(tiny_recipe, tmp_path, old, new, place, said):
    path, _ = misspelt(tiny_recipe, tmp_path, old, new)
    done = mbert("train", path, "-o", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert place in done.stderr
    assert said in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("training.epoch=3", "did you mean 'epochs'?"),
        ("trainig.epochs=3", "did you mean 'training'?"),
        ("training.epochs=three", "must be a whole number, but is 'three'"),
        ("training.epochs", "an override reads key=value"),
        ("adapters[5].rank=3", "adapters has 2 items, so there is no adapters[5]"),
        ("training.epochs=[", "is not YAML"),
    ],
)
def test_a_misspelt_override_gives_one_line(tiny_recipe, tmp_path, setting, said):
    done = mbert("train", tiny_recipe, setting, "-o", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert setting in done.stderr


def test_several_problems_are_told_at_once(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "training.epoch=3", "pooling=men", "adapters[0].rank=x", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


def test_an_existing_run_needs_resume_or_force(run, tiny_recipe, tmp_path):
    refused = mbert("train", tiny_recipe, "-o", "run", cwd=tmp_path)
    assert refused.returncode == 2
    assert "continue it with --resume, or replace it with --force" in refused.stderr
    assert mbert("train", tiny_recipe, "-o", "run", "--force", cwd=tmp_path).returncode == 0
    assert mbert("train", "-o", "run", "--resume", cwd=tmp_path).returncode == 0


def test_a_locked_run_exits_with_3(run, tiny_recipe, tmp_path):
    import filelock

    with filelock.FileLock(run / ".lock"):
        done = mbert("train", tiny_recipe, "-o", "run", "--force", cwd=tmp_path)
    assert done.returncode == 3
    assert "in use" in done.stderr


def test_predict_streams_from_stdin_to_stdout(run, tmp_path):
    rows = sentences(20, 4)
    done = mbert("predict", "run", "-", stdin="text\n" + "\n".join(rows) + "\n", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "text\tpred\tp_low\tp_mid\tp_high"
    assert len(lines) == 21
    (tmp_path / "in.tsv").write_text("text\n" + "\n".join(rows) + "\n")
    assert mbert("predict", "run", "in.tsv", "-o", "out.tsv", cwd=tmp_path).returncode == 0
    assert (tmp_path / "out.tsv").read_text() == done.stdout


def test_predict_replaces_an_output_only_with_force_and_never_its_input(run, tmp_path):
    (tmp_path / "in.tsv").write_text("text\nthe cat\n")
    (tmp_path / "out.tsv").write_text("precious")
    refused = mbert("predict", "run", "in.tsv", "-o", "out.tsv", cwd=tmp_path)
    assert (refused.returncode, (tmp_path / "out.tsv").read_text()) == (2, "precious")
    assert mbert("predict", "run", "in.tsv", "-o", "in.tsv", "-F", cwd=tmp_path).returncode == 2
    assert (tmp_path / "in.tsv").read_text() == "text\nthe cat\n"
    assert mbert("predict", "run", "in.tsv", "-o", "out.tsv", "-F", cwd=tmp_path).returncode == 0
    assert (tmp_path / "out.tsv").read_text().startswith("text")


def test_a_bad_row_leaves_no_output_behind(run, tmp_path):
    (tmp_path / "in.tsv").write_text("text\tx\nthe cat\t1\nthe dog\n")
    done = mbert("predict", "run", "in.tsv", "-o", "out.tsv", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("in.tsv:3: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tsv", "recipe.yaml", "run"]


def test_evaluate_prints_tables_and_json_and_writes_a_file(run, tmp_path):
    table = mbert("evaluate", "run", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "overall" in table.stdout
    assert "Confusion of mood" in table.stdout
    done = mbert("evaluate", "run", "--json", "-o", "m.json", "-t", "mood", "-t", "near", cwd=tmp_path)
    assert json.loads(done.stdout) == json.loads((tmp_path / "m.json").read_text())
    assert set(json.loads(done.stdout)["tasks"]) == {"mood", "near"}


def test_count_params_prints_both_counts_of_a_recipe_and_of_a_run(run, tmp_path):
    paper = mbert("count-params", "paper/hybrid_low_rank_top", cwd=tmp_path)
    assert paper.returncode == 0, paper.stderr
    assert "32,514,048" in paper.stdout
    assert "32,578,992" in paper.stdout
    found = json.loads(mbert("count-params", "run", "--json", cwd=tmp_path).stdout)
    assert found["adapters"]["by_formula"] == 3 * (2 * 2 * 16 * 4 + 4 * 16 * 16 + 2 * 16 * 32)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "dmo"], "did you mean 'demo'?"),
        (["predict", "nope", "in.tsv"], "in.tsv: cannot be read"),
        (["evaluate", "nope"], "there is no such run folder"),
        (["train", "demo", "--device", "gpu", "-o", "x"], "--device is 'gpu'. Known: auto, cpu, cuda, cuda:N."),
        (["train", "demo", "--precision", "fp8", "-o", "x"], "--precision is 'fp8'"),
        (["train", "demo", "--device", "cuda:99", "-o", "x"], "--device is 'cuda:99'"),
        (["evaluate", "nope", "--data", "mood"], "must read --data TASK=FILE"),
        (["train", "demo", "--resume", "--force"], "exclude each other"),
    ],
)
def test_wrong_words_give_one_line_and_exit_2(words, said, tmp_path):
    done = mbert(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_usage_fits_a_narrow_terminal(tmp_path):
    done = mbert("train", "--help", cwd=tmp_path, COLUMNS="60")
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 60


def test_recipes_can_be_listed_and_copied_out(tmp_path):
    names = mbert("recipes", "ls", cwd=tmp_path).stdout.split()
    assert {"demo", "cs224n_minilm", "paper/hybrid_low_rank_top"} <= set(names)
    assert "curriculum" in mbert("recipes", "cat", "demo", cwd=tmp_path).stdout
    unknown = mbert("recipes", "cat", "dem", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "did you mean 'demo'?" in unknown.stderr


def test_info_tells_versions_and_precision(tmp_path):
    found = json.loads(mbert("info", "--json", cwd=tmp_path).stdout)
    assert {"torch", "mbert-cli", "device", "precision"} <= set(found)


def test_the_demo_without_its_encoder_names_the_command_that_installs_it(tmp_path):
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name.startswith('gt_all') else real(name, *a)\n"
        "import sys; sys.argv = ['mbert', 'train']\n"
        "from mbert_cli.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'mbert-cli[demo]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_goes_away_is_no_fault(run, tmp_path):
    if shutil.which("head") is None:
        pytest.skip("no head")
    (tmp_path / "in.tsv").write_text("text\n" + "\n".join(sentences(20000, 4)) + "\n")
    command = f"{sys.executable} -m mbert_cli.cli predict run in.tsv -q | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("text")
