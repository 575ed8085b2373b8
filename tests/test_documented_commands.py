"""The commands of README.md and of the guide: each one runs, or is named below with the reason why it does not.

Commands are those of fenced blocks (`sh` and `console`). Of commands within sentences, names and options are checked.
"""

import gzip
import re
import shlex
import shutil
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import pytest
import tiny
import yaml
from typer.main import get_command
from word_salad import sentences

from mbert_cli.cli import app
from mbert_cli.commands.guide import PAGES
from mbert_cli.model.components import kinds, load_recipe

REPOSITORY = Path(__file__).parents[1]
FILES = {path.stem: path for path in (REPOSITORY / "README.md", *sorted(PAGES.glob("*.md")))}

NOT_RUN = {
    "mbert train my.yaml encoder.checkpoint=bert-base-uncased -o runs/my": "downloads an encoder",
    "mbert train paper/minilm/table4_simultaneous 'adapters=[]' --limit 2000 training.epochs=3 "
    "training.learning_rate=3e-5 training.head_learning_rate=1e-3 training.schedule=linear --seed 1 --precision bf16 "
    "-o runs/bf16-1": "reads the course's data",
    "mbert train my.yaml training.batch_size=128 training.accumulate=8 -o runs/large-batches": "trains once more",
    "mbert predict runs/demo tables/ more/*.parquet -o predicted --engine ray --workers 2": "starts Ray",
    "mbert embed runs/demo big.tsv -t mood -o vectors.npy --engine ray --workers 2": "starts Ray",
    "mbert predict runs/demo new.tsv -o predicted.tsv --devices 2": "starts processes",
    "mbert embed runs/demo new.tsv -t mood -o vectors.npy --devices 2": "starts processes",
    "mbert evaluate runs/demo --devices 2": "starts processes",
    "mbert train my.yaml training.max_length=512 training.gradient_checkpointing=true -o runs/long": "the tiny encoder "
    "reads no more than 64 tokens",
    "mbert sweep search.yaml -o sweeps/search": "trains four runs; tests/sweeps/test_search.py has stand-ins for them",
    "mbert train heads.yaml --limit 1000 --seed 1 -o runs/heads": "reads the course's data",
    "mbert evaluate runs/heads": "reads the course's data",
    "mbert evaluate runs/heads -t moods --tune-thresholds f1": "reads the course's data",
    "mbert train cs224n_minilm tasks.quora=null tasks.sts=null reference=null training.epochs=2 "
    "training.track=[tensorboard] --limit 200 -o runs/tracked": "reads the course's data",
    "mbert sweep options.yaml --limit 1000 -o sweeps/options": "reads the course's data",
    "mbert sweep shares.yaml --limit 300 -o sweeps/shares": "reads the course's data",
    "mbert compare sweeps/options/runs/plain-seed-1 sweeps/options/runs/cosine-seed-1": "reads the course's data",
    "mbert train long.yaml --limit 64 --dry-run": "reads the course's data",
    "mbert train long.yaml training.gradient_checkpointing=true --limit 64 --dry-run": "reads the course's data",
    "mbert sweep rates.yaml --limit 300 -o sweeps/rates": "reads the course's data",
    "mbert cv my.yaml --folds 3 --stratify -o cv/my": "run by sweeps/test_cross_validation.py",
    "mbert cv cs224n_minilm tasks.quora=null tasks.sts=null reference=null training.epochs=3 --limit 1000 --stratify "
    "-o cv/sst": "reads the course's data",
    "mbert train paper/minilm/table4_simultaneous tasks.quora=null reference=null --limit 400 training.epochs=1 "
    "training.learning_rate=5e-5 training.head_learning_rate=1e-3 training.schedule=linear encoder.sha256=null "
    "encoder.checkpoint=runs/first training.start_from=runs/first --seed 1 -o runs/seed-1": "reads the course's data",
    "mbert fuse runs/seed-1 runs/seed-2 runs/seed-3 -o runs/soup": "needs the runs of the course's data",
    "mbert info --warm-up": "compiles for up to two minutes",
    "mbert predict runs/demo new.tsv -t mood -o predicted.tsv --precision int8": "some processors refuse it; "
    "prediction/test_int8_prediction.py has both cases",
    "mbert evaluate runs/demo --precision int8": "likewise",
    "mbert evaluate runs/demo --precision int8 --accept-int8": "likewise; prediction/test_accepted_int8.py runs it",
    "mbert evaluate runs/bf16-1 --precision int8": "needs a run of the course's data",
    "mbert export runs/demo --format onnx -o exported": "run by test_python_guide.py, with the code that follows it",
    "mbert export runs/cls -t mood --format transformers -o mood": "the tiny run has adapters that cannot be exported; "
    "see export/test_export_command.py",
    "mbert export runs/cls -t near --format sentence-transformers -o near": "likewise; see "
    "export/test_sentence_transformers.py",
    "mbert export runs/cls -t mood --format sentence-transformers --no-head -o vectors": "likewise",
    "mbert export runs/lora -t mood --format peft -o mood-adapter": "likewise; see export/test_peft.py",
    "mbert tasks import runs/lora mood-adapter --from peft -o runs/lora-2": "likewise; see export/test_peft_import.py",
}
"""Commands of `mbert` that are not run. Their options are parsed, and recipes are loaded with their settings."""

OTHER_PROGRAMS = {
    "python3": "installs packages",
    "python": "a benchmark, or a script that the page shows",
    "export": "sets a variable",
}
"""Programs other than `mbert`. Of benchmarks, the options are looked up."""

PLAN = """
title: Pooling
seeds: [1]
settings: [training.epochs=1]
keep: model
rows: [{name: CLS, recipe: my.yaml, settings: [pooling=cls]}]
"""


def commands_of(page):
    """Return the commands of a page's fenced blocks: lines, joined where they end with a backslash."""
    commands = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M):
        if language in ("sh", "console"):
            lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
            stripped = [re.sub(r"\s+# .*", "", line).removeprefix("$ ").strip() for line in lines]
            commands += [line for line in stripped if line and not line.startswith("#")]
    return commands


def yaml_blocks(page):
    """Return the fenced blocks of YAML of a page."""
    return re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


ALL = {name: commands_of(path) for name, path in FILES.items()}
RUN = {
    name: [each for each in commands if each.startswith("mbert ") and each not in NOT_RUN]
    for name, commands in ALL.items()
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny encoder that reads as many tokens as a recipe of `mbert init` asks for."""
    return tiny.write_checkpoint(tmp_path_factory.mktemp("encoder"), max_position_embeddings=64)


@pytest.fixture(scope="module")
def prepared(encoder, tiny_files, tmp_path_factory):
    """A folder with the files that the commands name, and a tiny run of the recipe my.yaml."""
    folder = tmp_path_factory.mktemp("documented")
    recipe = tiny.write_recipe(folder / "my.yaml", encoder, tiny_files)
    recipe.write_text(recipe.read_text(encoding="utf-8").replace('"epochs": 2', '"epochs": 1'), encoding="utf-8")
    texts = (tiny_files / "mood-train.tsv").read_text(encoding="utf-8")
    for name in ("reviews.tsv", "mood-train.tsv", "new.tsv"):
        (folder / name).write_text(texts, encoding="utf-8")
    prices = [f"{i}\t{text}\t{1000 + 37.5 * i * i}" for i, text in enumerate(sentences(40, 1))]
    (folder / "prices.tsv").write_text("\n".join(["id\ttext\tprice", *prices]) + "\n", encoding="utf-8")
    topics = [f"{i}\t{text}\t{('a', 'b', 'a|b', '')[i % 4]}" for i, text in enumerate(sentences(40, 2))]
    (folder / "topics.tsv").write_text("\n".join(["id\ttext\ttopics", *topics]) + "\n", encoding="utf-8")
    for name in ("one.tsv.gz", "two.tsv.gz"):
        (folder / name).write_bytes(gzip.compress(texts.encode()))
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    (folder / "tone.yaml").write_text(yaml_blocks(FILES["tasks"])[0], encoding="utf-8")
    for page in FILES.values():  # the recipes and plans of the pages whose first line is their name
        text = page.read_text(encoding="utf-8")
        for block, name in re.findall(r"^```yaml\n(# (\w+\.yaml)\n.*?)^```", text, re.S | re.M):
            if not (folder / name).exists():
                (folder / name).write_text(block, encoding="utf-8")
    app(["train", str(recipe), "-o", str(folder / "runs" / "demo"), "-q"], standalone_mode=False)
    for name in ("my", "large"):
        shutil.copytree(folder / "runs" / "demo", folder / "runs" / name)
    return folder


@pytest.mark.parametrize("name", [name for name, commands in RUN.items() if commands])
def test_the_commands_of_a_page_run_one_after_another(name, prepared, encoder, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(prepared, tmp_path / "work")
    monkeypatch.chdir(folder)
    for command in RUN[name]:
        capsys.readouterr()
        try:
            run(command, folder)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{name}: {command}: {error}\n{capsys.readouterr().err}") from error
        if command.startswith("mbert init"):
            use_encoder(folder / command.split(" -o ")[1].split()[0], encoder)


def run(command, folder):
    """Run a command in this process, as a shell would: `*` names files, and `>` redirects."""
    _, *words = [
        file
        for word in shlex.split(command)
        for file in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
    ]
    if ">" in words:
        words, (name,) = words[: words.index(">")], words[words.index(">") + 1 :]
        with (folder / name).open("w") as file, redirect_stdout(file):
            code = app(words, standalone_mode=False)
        assert (folder / name).stat().st_size
    else:
        code = app(words, standalone_mode=False)
    assert not code
    for option, output in pairwise(words):
        assert option != "-o" or (folder / output).exists(), f"{output} was not written"


def use_encoder(recipe, checkpoint):
    """Let a recipe that `mbert init` wrote use the tiny encoder."""
    text, replaced = re.subn(r"checkpoint: .*?([,}\n])", rf"checkpoint: {checkpoint}\1", recipe.read_text("utf-8"))
    assert replaced == 1
    recipe.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("command", NOT_RUN)
def test_a_command_that_is_not_run_has_options_and_settings_that_exist(command, prepared, monkeypatch):
    monkeypatch.chdir(prepared)
    parameters = parse(shlex.split(command)[1:])
    if "settings" in parameters:
        load_recipe(parameters["recipe"], parameters["settings"])


def parse(words):
    """Return the parameters that a command receives; raise an error if a command, an option or a value is unknown."""
    command, context = get_command(app), None
    while True:
        context = command.make_context(command.name or "mbert", list(words), parent=context)
        if not hasattr(command, "commands"):
            return context.params
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])


def test_not_run_lists_only_documented_commands():
    documented = {command for commands in ALL.values() for command in commands}
    assert set(NOT_RUN) <= documented


def test_non_mbert_commands_use_known_programs():
    others = {
        next(word for word in command.split() if not re.match(r"[A-Z_]+=", word))
        for commands in ALL.values()
        for command in commands
        if not command.startswith("mbert ")
    }
    assert others <= set(OTHER_PROGRAMS)


@pytest.mark.parametrize(
    "command",
    [
        command
        for path in (*FILES.values(), REPOSITORY / "tests" / "benchmarks" / "README.md")
        for command in commands_of(path)
        if re.search(r"\bpython tests/", command)
    ],
)
def test_a_benchmark_that_a_page_names_has_these_options(command):
    script = REPOSITORY / re.search(r"tests/\S+\.py", command)[0]
    files = (script, *(script.parent / name for name in ("contest.py", "start_up.py")))
    source = "".join(path.read_text(encoding="utf-8") for path in files if path.exists())
    options = {option for option in re.findall(r"--[a-z-]+", command) if f'"{option}"' not in source}
    if "options_of" in script.read_text(encoding="utf-8"):  # passes other options on to `mbert predict`
        options -= {option for each in get_command(app).commands["predict"].params for option in each.opts}
    assert not options


@pytest.mark.parametrize("name", FILES)
def test_commands_within_sentences_have_options_that_exist(name):
    text = re.sub(r"^```.*?^```", "", FILES[name].read_text(encoding="utf-8"), flags=re.S | re.M)
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.match(r"mbert [a-z]", code):
            command, words = get_command(app), code.split()[1:]
            while hasattr(command, "commands"):
                assert words, code
                command = command.commands[words.pop(0)]
            known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            used = {word for word in words if re.match("-{1,2}[a-z]", word)}
            assert used <= known, code


@pytest.mark.parametrize("name", FILES)
def test_recipes_in_a_page_can_be_loaded(name, tmp_path):
    for number, block in enumerate(
        each for each in yaml_blocks(FILES[name]) if {"encoder", "tasks"} <= {*(yaml.safe_load(each) or ())}
    ):
        recipe = tmp_path / f"{number}.yaml"
        recipe.write_text(block, encoding="utf-8")
        load_recipe(str(recipe), [])


@pytest.mark.parametrize(
    ("section", "family"),
    [("adapters", "adapters"), ("pooling", "pooling"), ("head` of a task", "heads"),
     ("loss_balancing", "loss_balancing"), ("curriculum", "curricula")],
)  # fmt: skip
def test_the_readme_lists_all_kinds(section, family):
    (row,) = re.findall(rf"^\| `{section}.*?\| (.*) \|$", FILES["README"].read_text(encoding="utf-8"), re.M)
    assert sorted(re.findall(r"`(\w+)`", row)) == sorted(kinds(family))
