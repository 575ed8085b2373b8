import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny
from commands import mbert, start
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.recipe.shipped import plan_names


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    done = mbert("train", recipe, "-o", "run", "--precision", "fp32", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def run(trained, tiny_recipe, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.mark.parametrize(
    "words",
    [["--help"], ["train", "-h"], ["sweep", "-h"], ["--version"], ["recipes", "ls"], ["recipes", "cat", "demo"]],
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


def test_predict_imports_only_what_it_uses(run, tmp_path):
    (tmp_path / "new.tsv").write_text("text\na fine day\n", encoding="utf-8")
    code = (
        "import sys; sys.argv = ['mbert', *sys.argv[1:]]\n"
        "from mbert_cli.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        # Numba's compiler imports scipy.linalg; loading compiled loops from the cache does not need it.
        "large = {'transformers', 'sklearn', 'scipy.linalg', 'pandas', 'matplotlib', 'sympy', 'jinja2'}\n"
        "large |= {'torch._dynamo', 'torch._inductor'}\n"
        "assert not large & set(sys.modules), large & set(sys.modules)"
    )
    words = ["predict", run, "new.tsv", "-t", "mood", "--precision", "fp32"]
    assert mbert(*words, cwd=tmp_path).returncode == 0  # compiles the loops on a new machine
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_train_prints_one_line_per_epoch_on_stderr(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "training.epochs=3", cwd=tmp_path)
    assert done.returncode == 0
    # The first run of a machine compiles kernels.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("compiling")]
    assert [line.split(":")[0] for line in lines[2:8]] == [
        "mood",
        "same",
        "near",
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    assert done.stdout.startswith("kept the model of epoch")
    assert "\x1b" not in done.stderr


def test_train_first_prints_what_it_trains_and_finally_the_next_commands(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "--seed", "7", "--precision", "fp32", cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert re.match(r"mbert \S+ on cpu: fp32, \w+ kernels, \d+ threads; torch \S+; seed 7$", lines[0])
    assert "low_rank + top, mean pooling, hybrid curriculum, total loss; " in lines[1]
    assert lines[3].startswith("same: 30 train and 11 dev rows; 4 batches of ")
    assert lines[3].endswith("0 57%, 1 43%")
    commands = [line.split(": ", 1)[1].strip() for line in lines[-3:]]
    assert all(command.startswith("mbert ") and " run" in command for command in commands)


def test_verbose_train_prints_all_metrics(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "-v", cwd=tmp_path)
    assert len(re.findall(r"^  near: .*pearson .*spearman .*mae ", done.stderr, re.MULTILINE)) == 2


def test_quiet_train_prints_no_messages_and_json_prints_events(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "-q", "--json", cwd=tmp_path)
    assert done.stderr == ""
    start, *epochs, end = map(json.loads, done.stdout.splitlines())
    assert [each["event"] for each in (start, *epochs, end)] == ["start", "epoch", "epoch", "end"]
    assert start["tasks"]["mood"]["train"] == 20
    assert start["tasks"]["mood"]["shares"] == {"low": 0.35, "mid": 0.45, "high": 0.2}
    written = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [{"event": "epoch", **line} for line in written] == epochs
    assert end["kept"] in written
    assert end["run"] == "run"


def test_flags_override_the_recipe(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "-o", "run", "-b", "5", "--seed", "3", "--limit", "6", cwd=tmp_path)
    assert done.returncode == 0
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "batch_size: 5" in text
    assert "seed: 3" in text
    assert "mood: 6 train and 6 dev rows; 2 batches of " in done.stderr


def misspelt(tiny_recipe, tmp_path, old, new):
    text = tiny_recipe.read_text()
    assert old in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(old, new, 1))
    return path, path.read_text().splitlines().index(next(li for li in path.read_text().splitlines() if new in li)) + 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"low_rank"', '"lowrank"', "adapters[0].kind is 'lowrank'; did you mean 'low_rank'? Known: bitfit, "),
        ('"rank": 4', '"rnk": 4', "adapters[0].rnk is not a known key; did you mean 'rank'?"),
        ('"epochs"', '"epoch"', "training.epoch is not a known key; did you mean 'epochs'?"),
        ('"mean"', '"men"', "pooling.kind is 'men'; did you mean 'mean'? Known: cls, max, mean."),
        ("mood-train.tsv", "mod-train.tsv", "did you mean 'mood-train.tsv'?"),
    ],
)
def test_a_misspelt_recipe_is_reported_in_one_line_with_its_place(tiny_recipe, tmp_path, old, new, message):
    path, line = misspelt(tiny_recipe, tmp_path, old, new)
    done = mbert("train", path.name, "-o", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"bad.yaml:{line}: ")
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('"label": "mood"', '"label": "mod"', "mood-train.tsv:1", "did you mean 'mood'? Known: id, mood, text."),
        ('"text": "text"', '"text": "txt"', "mood-train.tsv:1", "did you mean 'text'?"),
    ],
)
def test_a_misspelt_column_is_reported_in_one_line_with_its_place(tiny_recipe, tmp_path, old, new, place, message):
    path, _ = misspelt(tiny_recipe, tmp_path, old, new)
    done = mbert("train", path, "-o", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert place in done.stderr
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_misspelt_label_is_reported_once_with_its_first_place(tiny_recipe, tiny_files, tmp_path):
    path, _ = misspelt(tiny_recipe, tmp_path, '"mid"', '"middle"')
    done = mbert("train", path, "-o", "run", cwd=tmp_path)
    assert done.returncode == 2
    labels = [line.split("\t")[-1] for line in (tiny_files / "mood-train.tsv").read_text().splitlines()]
    row, last = done.stderr.splitlines()
    problem = f"mood must be one of low, middle, high, but is 'mid', in {labels.count('mid')} rows (lines "
    assert f"mood-train.tsv:{labels.index('mid') + 1}: {problem}" in row
    assert f"has {labels.count('mid')} bad rows; correct them, or set tasks.mood.on_bad_row=skip." in last
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.epoch=3", "did you mean 'epochs'?"),
        ("trainig.epochs=3", "did you mean 'training'?"),
        ("training.epochs=three", "must be a whole number, but is 'three'"),
        ("training.epochs", "an override has the form key=value"),
        ("adapters[5].rank=3", "adapters has 2 items, so there is no adapters[5]"),
        ("training.epochs=[", "is not YAML"),
    ],
)
def test_a_misspelt_override_is_reported_in_one_line(tiny_recipe, tmp_path, setting, message):
    done = mbert("train", tiny_recipe, setting, "-o", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert setting in done.stderr


def test_several_problems_are_reported_at_once(tiny_recipe, tmp_path):
    done = mbert("train", tiny_recipe, "training.epoch=3", "pooling=men", "adapters[0].rank=x", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


def test_an_existing_run_requires_resume_or_force(run, tiny_recipe, tmp_path):
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


def test_a_killed_prediction_is_resumed_to_the_same_bytes(run, tmp_path):
    text = "text\n" + "\n".join(sentences(1000, 3) * 50) + "\n"
    (tmp_path / "in.tsv").write_text(text)
    words = ("predict", "run", "in.tsv", "-o")
    assert mbert(*words, "whole.tsv", cwd=tmp_path).returncode == 0
    journal = tmp_path / ".out.tsv.partial" / "journal.jsonl"
    for pieces in (2, 4):  # the first piece is the header
        process = start(*words, "out.tsv", cwd=tmp_path)
        while not journal.exists() or journal.read_bytes().count(b"\n") <= pieces:
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "out.tsv").exists()
    done = mbert(*words, "out.tsv", cwd=tmp_path)
    assert done.returncode == 0
    assert re.search(r"out.tsv: resuming after (24,576|32,768|40,960) rows", done.stderr)
    assert (tmp_path / "out.tsv").read_bytes() == (tmp_path / "whole.tsv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tsv", "out.tsv", "recipe.yaml", "run", "whole.tsv"]


def test_a_leftover_partial_folder_does_not_permit_overwriting_without_force(run, tmp_path):
    (tmp_path / ".out.tsv.partial").mkdir()
    (tmp_path / "out.tsv").write_text("thesis")
    (tmp_path / "in.tsv").write_text("text\na cat\n")
    for words in (("report", "run"), ("predict", "run", "-"), ("predict", "run", "in.tsv")):
        done = mbert(*words, "-o", "out.tsv", cwd=tmp_path, stdin="text\na cat\n")
        assert done.returncode == 2, words
        assert "out.tsv: exists; replace it with --force" in done.stderr
        assert (tmp_path / "out.tsv").read_text() == "thesis"


def test_a_prediction_from_a_stream_reports_that_it_cannot_be_resumed(run, tmp_path):
    done = mbert("predict", "run", "-", "-o", "out.tsv", cwd=tmp_path, stdin="text\na cat\n")
    assert done.returncode == 0
    assert "out.tsv: if interrupted, this starts from the beginning (a stream cannot be resumed)." in done.stderr
    assert len((tmp_path / "out.tsv").read_text().splitlines()) == 2


def test_predict_does_not_write_through_links_or_replace_devices(run, tmp_path):
    (tmp_path / "in.tsv").write_text("text\na cat\n")
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "link").symlink_to("thesis")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("link", "is a symbolic link"), ("pipe", "is not a regular file")):
        done = mbert("predict", "run", "in.tsv", "-o", name, "-F", cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
    assert (tmp_path / "thesis").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [("train", "demo", "-o"), ("count-params",), ("evaluate",), ("report",), ("predict", "run", "in.tsv", "-o")],
)
def test_a_file_name_that_is_too_long_is_reported_in_one_line(words, tmp_path):
    (tmp_path / "in.tsv").write_text("text\na cat\n")
    done = mbert(*words, "x" * 300, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "xxx" in done.stderr


def test_an_argument_that_is_not_utf_8_is_refused_first(tiny_recipe, tmp_path):
    command = [sys.executable, "-m", "mbert_cli.cli", "train", str(tiny_recipe), "-o", b"x\xff"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "'x\\udcff': is not UTF-8; rename the file or the folder.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yaml"]


def test_offline_does_not_use_the_hub(tiny_recipe, tmp_path):
    settings = ("encoder.checkpoint=nobody/has-this", "encoder.revision=main")
    done = mbert("train", tiny_recipe, *settings, "-o", "run2", "--offline", cwd=tmp_path, HF_HUB_OFFLINE="0")
    assert done.returncode == 2
    assert "is not in the local hub cache, and --offline (HF_HUB_OFFLINE) disables the network" in done.stderr


def test_a_bad_row_leaves_no_output(run, tmp_path):
    (tmp_path / "in.tsv").write_text("text\tx\nthe cat\t1\nthe dog\n")
    done = mbert("predict", "run", "in.tsv", "-o", "out.tsv", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("in.tsv:3: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tsv", "recipe.yaml", "run"]


def test_evaluate_prints_tables_and_json_and_writes_a_folder(run, tmp_path):
    table = mbert("evaluate", "run", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "overall" in table.stdout
    assert "Classes of mood" in table.stdout
    assert "Confusion of mood" in table.stdout
    done = mbert("evaluate", "run", "--json", "-o", "out", "-t", "mood", "-t", "near", cwd=tmp_path)
    assert done.stderr == "wrote out\n"
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(json.loads(done.stdout)["tasks"]) == {"mood", "near"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "curves.png",
        "curves.svg",
        "manifest.json",
        "metrics.json",
        "mood_confusion.png",
        "mood_confusion.svg",
        "mood_confusion.tsv",
        "mood_confusion_shares.tsv",
        "mood_predictions.tsv",
        "near_predictions.tsv",
        "near_scatter.png",
        "near_scatter.svg",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "recipe.yaml", "run"]


def test_evaluate_replaces_only_a_folder_that_it_wrote_and_only_with_force(run, tmp_path):
    words = ("evaluate", "run", "-q", "--limit", "3", "-o")
    (tmp_path / "empty").mkdir()
    assert mbert(*words, "empty", cwd=tmp_path).returncode == 0
    before = contents(tmp_path / "empty")
    refused = mbert(*words, "empty", cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (
        2,
        "empty: exists; replace it with --force, or choose another folder.\n",
    )
    assert mbert(*words, "empty", "--force", cwd=tmp_path).returncode == 0
    assert contents(tmp_path / "empty") == before
    (tmp_path / "empty" / "notes.txt").write_text("precious")
    for name in ("notes.old", "notes.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("precious")
    for name in ("empty", "run", "run/evaluation", "run/model", "notes.old", "."):
        before = contents(tmp_path / name)
        refused = mbert(*words, name, "--force", cwd=tmp_path)
        assert refused.returncode == 2
        assert (
            refused.stderr == f"{name}: contains files that mbert evaluate -o did not write; choose another folder.\n"
        )
        assert contents(tmp_path / name) == before
    # Neither NAME.old nor NAME.new beside it is touched.
    assert mbert(*words, "notes", cwd=tmp_path).returncode == 0
    assert len(list(tmp_path.glob("notes.*/thesis.txt"))) == 2


@pytest.mark.parametrize(
    ("output", "message"), [("recipe.yaml", "is a file; name a folder"), ("nowhere/out", "there is no folder")]
)
def test_evaluate_checks_the_output_before_it_computes(tiny_recipe, tmp_path, output, message):
    refused = mbert("evaluate", "nope", "-o", output, "--force", cwd=tmp_path)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert refused.stdout == ""


def test_evaluate_writes_the_numbers_if_figures_cannot_be_drawn(run, tmp_path):
    command = [sys.executable, "-m", "mbert_cli.cli", "evaluate", "run", "-o", "out"]
    environment = {**os.environ, "MPLBACKEND": "no such thing"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert done.stderr.startswith("the figures could not be drawn (")
    assert len(done.stderr.splitlines()) == 2
    assert (tmp_path / "out" / "metrics.json").exists()
    assert not list((tmp_path / "out").glob("*.png"))


def test_report_of_a_run(run, tmp_path):
    found = json.loads(mbert("report", "run", "--json", cwd=tmp_path).stdout)
    assert found["epochs"]["ended"] == 2
    assert set(found["tasks"]) == {"mood", "same", "near"}
    # The tiny encoder, and per task low rank (2 layers of 4 x 16 x 2, with 4 + 16 biases) and one layer of its own.
    one_layer = 4 * 16 * 16 + 2 * 16 * 32 + 4 * 16 + 32 + 16 + 4 * 16
    assert found["parameters"]["adapters"] == 3 * (2 * (2 * 4 * 16 + 4 + 16) + one_layer)
    assert "saved model" in mbert("report", "run/model", cwd=tmp_path).stderr


def test_count_params_prints_both_counts_of_a_recipe_and_of_a_run(run, tmp_path):
    paper = mbert("count-params", "paper/hybrid_low_rank_top", cwd=tmp_path)
    assert paper.returncode == 0, paper.stderr
    assert "32,514,048" in paper.stdout
    assert "32,578,992" in paper.stdout
    found = json.loads(mbert("count-params", "run", "--json", cwd=tmp_path).stdout)
    assert found["adapters"]["by_formula"] == 3 * (2 * 2 * 16 * 4 + 4 * 16 * 16 + 2 * 16 * 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "dmo"], "did you mean 'demo'?"),
        (["predict", "nope", "in.tsv"], "nope: there is no such run folder"),
        (["evaluate", "nope"], "there is no such run folder"),
        (["train", "demo", "--device", "gpu", "-o", "x"], "--device is 'gpu'. Known: auto, cpu, cuda, cuda:N."),
        (["train", "demo", "--precision", "fp8", "-o", "x"], "--precision is 'fp8'"),
        (["train", "demo", "--kernels", "fussed", "-o", "x"], "--kernels is 'fussed'. Known: auto, torch, fused."),
        (["evaluate", "nope", "--kernels", "fussed"], "--kernels is 'fussed'"),
        (["train", "demo", "--device", "cuda:99", "-o", "x"], "--device is 'cuda:99'"),
        (["evaluate", "nope", "--data", "mood"], "must have the form --data TASK=FILE"),
        (["train", "demo", "--resume", "--force"], "cannot be used together"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line_with_exit_code_2(words, message, tmp_path):
    done = mbert(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_predict_has_the_option_kernels(run, tmp_path):
    (tmp_path / "in.tsv").write_text("text\nthe cat sleeps\n")
    done = mbert("predict", "run", "in.tsv", "--kernels", "fussed", cwd=tmp_path)
    assert done.returncode == 2
    assert "--kernels is 'fussed'" in done.stderr


def test_recipes_can_be_listed_and_printed(tmp_path):
    rows = [line.split("\t") for line in mbert("recipes", "ls", cwd=tmp_path).stdout.splitlines()]
    names = [name for name, description in rows if description]
    assert {"demo", "cs224n_minilm", "paper/hybrid_low_rank_top"} <= set(names)
    assert names == sorted(names)
    assert len(names) == len(rows)
    assert "curriculum" in mbert("recipes", "cat", "demo", cwd=tmp_path).stdout
    unknown = mbert("recipes", "cat", "dem", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "did you mean 'demo'?" in unknown.stderr


def test_plans_can_be_listed(capsys):
    app(["recipes", "ls", "--plans"], standalone_mode=False)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, description in rows if description] == plan_names()


def test_a_resolved_recipe_does_not_extend_another(tmp_path):
    short = mbert("recipes", "cat", "cs224n_minilm", cwd=tmp_path).stdout
    assert "extends: " in short
    assert "batch_size" not in short
    done = mbert("recipes", "cat", "cs224n_minilm", "--resolved", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "extends" not in done.stdout
    assert "rank: 102" in done.stdout  # of the parent
    assert "epochs: 4" in done.stdout  # its own
    assert "weight_decay: 0.01" in done.stdout  # a default
    (tmp_path / "mine.yaml").write_text(done.stdout)
    assert mbert("recipes", "cat", "mine.yaml", "--resolved", cwd=tmp_path).stdout == done.stdout


def test_info_prints_versions_and_precision(tmp_path):
    found = json.loads(mbert("info", "--json", cwd=tmp_path).stdout)
    assert {"torch", "mbert-cli", "device", "precision", "kernels"} <= set(found)


def test_without_the_encoder_of_the_demo_the_message_has_the_command_that_installs_it(tmp_path):
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


def test_a_reader_that_exits_early_causes_no_traceback(run, tmp_path):
    if shutil.which("head") is None:
        pytest.skip("no head")
    (tmp_path / "in.tsv").write_text("text\n" + "\n".join(sentences(20000, 4)) + "\n")
    command = f"{sys.executable} -m mbert_cli.cli predict run in.tsv -q | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("text")
