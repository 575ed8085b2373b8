"""Every contender of every benchmark runs once on a few rows, and its work is compared with the input."""

import ast
import importlib.metadata
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import commands
import pytest
import tiny
import torch
from word_salad import sentences

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import contest
import encoders
import estimates
import gpu_figures
import gpu_session
import int8_differences
import limit
import many_classes
import many_tasks
import predict_peers
import predict_speed
import profile_prediction
import profile_step
import scale_formulas
import scale_measure
import scale_model
import scaling
import start_up
import train_peers
import train_speed
import watched_steps

from mbert_cli.cli import app
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.machine.hardware import why_not_int8

BENCHMARKS = Path(__file__).parent / "benchmarks"
ROWS = {"sst": 9, "quora": 7, "sts": 8}
BATCH_SIZE = 32  # rows of each task in a step of train_speed.py
PACKAGES = {
    "hf": {"transformers"},
    "st": {"sentence-transformers"},
    "ov": {"sentence-transformers", "optimum-intel", "openvino", "nncf"},
    "ort": {"sentence-transformers", "optimum-onnx", "onnxruntime"},
    "houlsby": {"adapters"},
    "lora": {"peft"},
}
"""Packages of the peers, by the beginning of their names. Peers that are not installed are skipped."""
TRAINER_PACKAGES = {**PACKAGES, "st": {"sentence-transformers", "datasets", "accelerate"}}


def installed(peers, packages):
    """Return the peers whose packages are installed."""
    here = {each.name for each in importlib.metadata.distributions()}
    return [each for each in peers if packages[each.split("_")[0]] <= here]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The files of the course that the benchmarks read, each with a few made-up rows."""
    folder, rng = tmp_path_factory.mktemp("course"), random.Random(4)
    for seed, (task, rows) in enumerate(ROWS.items()):
        for split in ("train", "dev"):
            firsts, seconds = sentences(rows, seed, longest=20), sentences(rows, seed + 10)
            if task == "sst":
                header, lines = "id\tsentence\tsentiment", [f"{text}\t{rng.randrange(5)}" for text in firsts]
            else:
                label = "is_duplicate" if task == "quora" else "similarity"
                header, pairs = f"id\tsentence1\tsentence2\t{label}", zip(firsts, seconds, strict=True)
                lines = [f"{a}\t{b}\t{float(rng.randrange(2))}" for a, b in pairs]
            text = "\n".join([header, *(f"{number}\t{line}" for number, line in enumerate(lines))])
            name = f"{'ids-' if task == 'sst' else ''}{task}-{split}.csv"
            (folder / name).write_text(text + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny encoder with a tokenizer that transformers opens."""
    folder = tiny.write_checkpoint(tmp_path_factory.mktemp("encoder") / "tiny", max_position_embeddings=128)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def forked(course, monkeypatch, tmp_path):
    """Run all contenders as forks of one process, with the made-up files of the course."""
    monkeypatch.setenv("MBERT_DATA", str(course))

    def of_contender(command, environment):
        _, script, settings = command
        done = commands.program(script, settings, cwd=tmp_path, **environment)
        result = contest.result_in(done.stdout)
        return {**result, "wall_s": 1.0} if done.returncode == 0 else {"error": (done.stdout + done.stderr)[-2000:]}

    monkeypatch.setattr(contest, "_run", of_contender)


@pytest.fixture
def run(forked, monkeypatch, tmp_path):
    """Run a benchmark with arguments, and return its JSON."""

    def program(module, *words):
        out = tmp_path / "out.json"
        monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, words), "--threads", "1", "--json", str(out)])
        module.main()
        return json.loads(out.read_text(encoding="utf-8"))

    return program


def check_all_ran(rows, names):
    assert {row["name"]: row.get("error") for row in rows} == dict.fromkeys(names)


def test_every_contender_of_prediction_writes_all_rows(run, encoder):
    peers = installed(predict_peers.PEERS, PACKAGES)
    found = run(predict_speed, "--rounds", 1, "--encoder", encoder, "--peers", ",".join(peers))
    check_all_ran(
        found["rows"], [f"{task}_{each}" for task in ("quora", "sst") for each in (*predict_speed.OURS, *peers)]
    )
    for row in found["rows"]:
        assert row["sentences"] == (2 * ROWS["quora"] if row["name"].startswith("quora") else ROWS["sst"])
        precision = row["name"].split("_")[-1]
        assert ("share_of_limit" in row) == (row["name"].split("_", 1)[1] in predict_speed.OURS)
        assert row.get("share_of_limit", 1) > 0
        assert row["largest_difference"] < {"bf16": 0.02, "int8": 0.05, "fp32": 1e-4}[precision]


@pytest.mark.skipif(why_not_int8(torch.device("cpu")) is not None, reason="no int8 instructions")
def test_differences_of_int8_are_small_for_every_kind_of_text(run, encoder):
    found = run(int8_differences, "--rows", 5, "--encoder", encoder)["rows"]
    assert [row["rows"] for row in found] == [5] * 6 + [1, len(int8_differences.ODD)]
    assert all(0 < row["mean"] < 0.1 * row["deviation"] for row in found)


def test_every_contender_of_training_trains_on_all_tokens(run, encoder):
    peers = installed(train_peers.PEERS, TRAINER_PACKAGES)
    words = ("--rounds", 1, "--steps", 2, "--warm-up", 1, "--encoder", encoder, "--peers", ",".join(peers))
    ours = [*train_speed.OURS, "lora_fp32"]
    found = run(train_speed, "--ours", ",".join(ours), *words)
    check_all_ran(found["rows"], [*ours, *(train_peers.PEERS[each] for each in peers)])
    # The trainer of sentence-transformers shuffles the rows, so its timed steps have other rows.
    tokens = {row["tokens"] for row in found["rows"] if "sentence" not in row["name"]}
    assert len(tokens) == 1


@pytest.fixture
def published(request, monkeypatch, minilm):
    """The name of an encoder of published sizes, which are made small."""
    shape_of = encoders.shape_of
    small = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 48}
    monkeypatch.setattr(encoders, "shape_of", lambda name: replace(shape_of(name), **small))
    return request.param


# Each has a part that the others lack: no token types, a bias by distance, disentangled attention, norms first.
@pytest.mark.parametrize(
    "published", ["distilbert-base", "mpnet-base", "deberta-v3-small", "modernbert-base"], indirect=True
)
def test_an_encoder_of_published_sizes_is_trained_by_mbert_and_by_transformers(run, published):
    words = ("--rounds", 1, "--steps", 1, "--warm-up", 1, "--batch-size", 3)
    found = run(train_speed, "--encoder", published, "--ours", "full_fp32", "--peers", "hf_fp32", *words)
    check_all_ran(found["rows"], ["full_fp32", "hf_fp32"])


@pytest.mark.parametrize("published", ["albert-base", "deberta-v3-xsmall", "gte"], indirect=True)
def test_an_encoder_of_published_sizes_predicts_the_same_in_mbert_and_in_transformers(run, published):
    words = ("--rounds", 1, "--tasks", "quora", "--ours", "fp32", "--peers", "hf_fp32")
    found = run(predict_speed, "--encoder", published, *words)
    check_all_ran(found["rows"], ["quora_fp32", "quora_hf_fp32"])
    assert all(row["largest_difference"] < 1e-4 for row in found["rows"])


@pytest.mark.parametrize("name", encoders.PUBLISHED)
def test_every_published_encoder_has_known_sizes_and_a_family_of_its_peer(name):
    from transformers import AutoConfig

    shape = encoders.shape_of(name)
    assert AutoConfig.for_model(shape.family).model_type == shape.family


def test_every_point_of_scaling_reads_all_tokens(run, monkeypatch):
    small = {
        "tokens": [scaling.Point(rows=rows, hidden=32, tasks=1) for rows in (4, 8)],
        "hidden size": [scaling.Point(rows=4, hidden=64, tasks=1)],
        "tasks": [scaling.Point(rows=8, hidden=32, tasks=4)],
    }
    monkeypatch.setattr(scaling, "SWEEPS", small)
    found = run(scaling, "--rounds", 1, "--steps", 1, "--warm-up", 1, "--layers", 1)
    for name, rows in found["sweeps"].items():
        check_all_ran(rows, [scaling.name_of(point) for point in small[name]])
        assert all(row["tokens"] >= 6 * row["rows"] for row in rows)


def test_a_profile_holds_every_step(run, encoder, capsys):
    found = run(profile_step, "full_fp32_plain", "--encoder", encoder, "--steps", 3)
    assert found["steps"] == 3
    assert found["work"]["sentences"] == (4 + 3) * 5 * BATCH_SIZE
    assert "aten::" in capsys.readouterr().out


def test_a_stage_interrupts_the_stage_around_it():
    times = iter([1.0, 3.0, 7.0, 8.0])
    stages = start_up.Stages(lambda: next(times))
    with stages.stage("outer"):
        stages.timed("inner", len)("")
    assert stages.seconds == {start_up.REST: 1.0, "outer": 2.0 + 1.0, "inner": 4.0}


@pytest.fixture
def run_and_table(tiny_recipe, tmp_path):
    folder, table = tmp_path / "run", tmp_path / "new.tsv"
    app(["train", str(tiny_recipe), "-o", str(folder), "training.epochs=1", "-q"], standalone_mode=False)
    table.write_text("text\na fine day\n", encoding="utf-8")
    return folder, table


def test_the_profile_of_a_prediction_names_all_stages(run_and_table, tmp_path, monkeypatch):
    words = [*run_and_table, "-t", "mood", "--rounds", 1, "--json", tmp_path / "out.json", "--precision", "fp32"]
    monkeypatch.setattr(sys, "argv", [profile_prediction.__file__, *map(str, words)])
    profile_prediction.main()
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    for name in ("packing", "tokenising", "reading rows", "writing rows", "heads and Python between kernels"):
        assert found[name] > 0
    assert sum(found.values()) == pytest.approx(2 * found["all"])


def test_the_stages_of_a_prediction_add_up_to_its_cpu_time(run_and_table, tmp_path, monkeypatch):
    folder, table = run_and_table
    words = [folder, table, "-t", "mood", "--rounds", 1, "--json", tmp_path / "out.json"]
    monkeypatch.setattr(sys, "argv", [start_up.__file__, *map(str, words)])
    start_up.main()
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    named = {name for functions in start_up.STAGES.values() for name in functions.values()}
    named.discard("load compiled loops from the cache")  # Numba may not be installed
    assert {start_up.FIRST, start_up.LAST, "import torch", "import mbert_cli", *named} <= found.keys()
    total = found.pop(start_up.TOTAL)
    assert sum(found.values()) == pytest.approx(total, rel=0.05)


def test_every_run_of_the_estimates_is_completed(run, encoder):
    found = run(estimates, "--encoder", encoder, "--limit", 40, "--epochs", 6, "--precision", "fp32")
    check_all_ran(found["rows"], estimates.RUNS)
    for row in found["rows"]:
        for key in ("disk_mb", "disk_at_most_mb"):
            estimated, was = row[key]
            assert 0 < was < 2 * estimated
        assert all(each > 0 for key in ("seconds", "first_left") for each in row[key])


def test_every_command_on_many_classes_does_its_work(run, encoder):
    found = run(many_classes, "--classes", 150, "--rows", 9, "--encoder", encoder)
    check_all_ran(found["rows"], many_classes.COMMANDS)
    for row in found["rows"]:
        assert all(row[key] > 0 for key in ("rss_mb", "metrics_line_bytes", "output_bytes", "seconds"))


def test_every_command_on_many_tasks_does_its_work(run, encoder, monkeypatch):
    def measured(folder, options, *words):
        """Run the command in this process, because a process of its own takes seconds."""
        monkeypatch.chdir(folder)
        app([*words, "-q"], standalone_mode=False)
        output = folder / words[words.index("-o") + 1]
        return {"seconds": 1.0, "rss_mb": output.stat().st_size}

    monkeypatch.setattr(many_tasks, "measured", measured)
    found = run(many_tasks, "--tasks", 2, "--rank", 4, "--rounds", 1, "--encoder", encoder)["rows"]
    # Both models predict the same row for the same task.
    assert found["ratios"] == {"seconds": 1.0, "rss_mb": 1.0}
    assert found["commands"].keys() == many_tasks.COMMANDS.keys()


def test_the_limit_of_a_gated_encoder_with_factorised_embeddings_has_their_products():
    shape = EncoderShape(hidden_size=64, num_layers=3, num_heads=2, intermediate_size=32, gated=True, embedding_size=16)
    products = [(128, 64, 192), (128, 64, 64), (128, 64, 64), (128, 32, 64)]  # W_1 and W_3 are one product
    weights = 3 * sum(inner * columns for _, inner, columns in products) + 16 * 64
    found = sum(
        rows * inner * columns * count for (rows, inner, columns), count in limit.step("full", [128], shape, 1).items()
    )
    assert found == 3 * 128 * weights


@pytest.mark.parametrize("method", ["full", "houlsby", "top"])
def test_the_limit_is_the_matrix_products_of_a_step(method):
    """Hand arithmetic: of 12 hidden^2 weights of a layer, each needs 2 operations forward and 2 for each gradient."""
    tokens, hidden, rank = [128, 256, 640], 64, 16
    shape = EncoderShape(hidden_size=hidden, num_layers=3, num_heads=2, intermediate_size=4 * hidden)
    counted = limit.step(method, tokens, shape, rank)
    found = sum(2 * rows * inner * columns * count for (rows, inner, columns), count in counted.items())
    weights, all_tokens = 12 * hidden * hidden, sum(tokens)
    bottlenecks = 2 * 2 * hidden * rank  # per layer
    expected = {
        "full": 6 * all_tokens * 3 * weights,
        # Nothing trains below the first layer's attention, so its input has no gradient.
        "houlsby": 2 * all_tokens * (3 * weights + 3 * weights - 4 * hidden * hidden)
        + all_tokens * (6 * 3 * bottlenecks - 2 * hidden * rank),
        "top": 2 * all_tokens * 3 * weights + all_tokens * (6 * weights - 2 * 3 * hidden * hidden),
    }
    assert found == expected[method]


def test_the_limit_is_measured_with_all_products(monkeypatch):
    torch = pytest.importorskip("torch")
    done, multiply = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: done.append(a.shape) or multiply(a, b, out=out))
    times = limit.measure({(3, 4, 5): 2, (6, 7, 8): 1}, bf16=False, repeats=4)
    assert len(times) == 4
    tries = 2 * 8 * (limit._TRIES + 1)  # two products, in each order of their operands
    assert len(done) == tries + (4 + 1) * 3


def test_every_constant_of_the_scale_model_is_measured(forked, encoder, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(scale_model, "MOST", 2)
    out = tmp_path / "constants.json"
    words = ["--check", "--encoder", encoder, "--batch-size", 2, "--steps", 3, "--warm-up", 1, "--predict-rows", 9]
    monkeypatch.setattr(sys, "argv", ["scale_model.py", *map(str, words), "--cores", "2", "--json", str(out)])
    scale_model.main()
    assert capsys.readouterr().out.count("\n| ") == 1 + 1 + 2  # columns, their line, and two numbers of processes
    constants = json.loads(out.read_text(encoding="utf-8"))
    assert set(constants["steps_of"]) == {"1", "2"}
    assert constants["rows"] == 6
    assert constants["prediction"]["rows"] == 9
    assert constants["state"] == 12 * (constants["dense"] + constants["width"] * tiny_words(encoder))
    # The measured constants replace assumed ones in the tables.
    monkeypatch.setattr(sys, "argv", ["scale_model.py", "--constants", str(out), "--gpus", "2"])
    scale_model.main()
    assert "2 | one file, --shard" in capsys.readouterr().out


def tiny_words(encoder):
    """Return the number of words of a checkpoint's table."""
    return json.loads((encoder / "config.json").read_text(encoding="utf-8"))["vocab_size"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # 6 parameters tokens: a weight of [5, 7] with 3 tokens.
        (scale_formulas.flops({(3, 5, 7): 1, (3, 7, 5): 1, (7, 3, 5): 1}), 6 * 35 * 3),
        (scale_formulas.gradient_bytes(1000, words=10, width=16), 4640),
        (scale_formulas.all_reduce(1e9, 4, 1e9, 0.01), 1.5 + 0.06),
        (scale_formulas.ring_constants(0.06, 1.56, 1e9, 4), (1e9, 0.01)),
        (scale_formulas.all_reduce(1e9, 1, 1e9, 0.01), 0),
        (scale_formulas.best_interval(save=8, mtbf=10_000), 400),
        # 8 s of every 400 s, and after a failure half an interval and 100 s of 10,000 s.
        (scale_formulas.lost_share(save=8, interval=400, restart=100, mtbf=10_000), 0.02 + 0.03),
        (scale_formulas.sharing(1, 2, 1.2), 1),
        (scale_formulas.sharing(2, 2, 1.2), 1.2),
        (scale_formulas.sharing(3, 2, 1.2), 1.8),
        # Tables of order statistics: 1 / sqrt(pi), 1.5 / sqrt(pi), 1.02938.
        (scale_formulas.expected_maximum(1), 0),
        (scale_formulas.expected_maximum(2), 0.5641896),
        (scale_formulas.expected_maximum(3), 0.8462844),
        (scale_formulas.expected_maximum(4), 1.0293754),
    ],
)
def test_a_formula_of_the_scale_model_equals_hand_arithmetic(value, expected):
    assert value == pytest.approx(expected, abs=1e-4)


def test_imbalance_is_that_of_the_longest_share():
    # The rows of 9, 5, 4 and 2 tokens are dealt forwards and backwards: 9 + 2 and 5 + 4. All rows are 20 tokens.
    assert scale_formulas.imbalance([{"a": [5, 9, 2, 4]}], 2) == pytest.approx(11 / 10)


def test_a_part_of_a_file_costs_the_whole_file():
    """Hand arithmetic for 1,000 rows of 10 bytes in 4 parts."""
    constants = {"row": 2, "hash": 100, "count": 0.5, "skip": 0.4, "start": 7, "input_row": 10, "output_row": 20}
    prediction = scale_formulas.Prediction(**constants, join=50, storage=50)
    times = prediction.of_parts(1000, 4)
    assert times == {
        "start": 7,
        "computation": (250 + 2 * 8191) * 2,
        "hash of the whole input": 100,
        "counting all rows": 500,
        "skipping the rows before": 300,
        "join": 400,
        # 2 * 4 + 1.5 times 10,000 bytes at 50 bytes/s are 1,900 s; 900 s of them pass while the parts read.
        "waiting for storage": 1000,
    }
    assert scale_formulas.largest(times) == "waiting for storage"
    # Three processes share 4 files, so one of them has two files: 500 rows.
    files = prediction.of_files(1000, 3, files=4)
    assert files == {"start": 7, "computation": 1000, "hash of its files": 50, "waiting for storage": 0}


def test_the_scale_model_reproduces_a_made_up_system():
    """All rows have 10 tokens. A step takes 0.1 s, and 0.01 s for each token."""

    def step(tokens, **more):
        return {"times": [0.1 + 0.01 * tokens] * 4, "tokens": tokens, "wall_s": 20.0, "other_s": 1.0, **more}

    sizes = {"rows": 12, "packing_s": 0.001, "dense": 1000, "words": 10, "width": 100, "state": 1}
    results = {
        "step": step(120, lengths={"a": [10] * 50}, **sizes),
        "half step": step(60),
        "contention": {"times": [1.3 * 1.25]},
        "disk": {"bytes_per_s": 1.0},
        "prediction": {},
        # A message takes 0.01 s; a byte takes 1e-6 s.
        "exchange of 2": {"times": {"small": 0.02, "large": 0.02 + scale_measure._SIZE * 1e-6}},
        "step of 2": {"times": [0.912 + 0.048]},
    }
    constants = scale_measure.constants_of(results) | {"batch_size": 12}
    (one, alone, _, _), (two, predicted, _, parts) = scale_model.check_rows(constants, cores=2)
    assert (one, two) == (1, 2)
    assert alone == pytest.approx(1.3)
    assert parts["computation"] == pytest.approx(1.25 * 0.6)
    assert parts["fixed work in every process"] == pytest.approx(1.25 * (0.1 + 12 * 0.001))
    assert parts["stragglers"] == pytest.approx(0)
    assert parts["exchange"] == pytest.approx(0.04 + 8000e-6)  # two exchanges; 4 * (1000 + 10 * 100) bytes
    assert predicted == pytest.approx(0.75 + 0.14 + 0.048)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("id\ttext\tp\n1\ta\t0.5\n2\tb\t1\n", ""),
        (None, "wrote 0 rows of 2"),
        ("", "wrote 0 rows of 2"),
        ("id\ttext\tp\n1\ta\t0.5\n", "wrote 1 rows of 2"),
        ("id\ttext\tp\n2\tb\t0.5\n1\ta\t0.5\n", "row 1 of the output is not that of the input"),
        ("id\ttext\tp\n1\ta\t0.5\n2\tb\tnan\n", "row 2 of the output has no probability"),
    ],
)
def test_an_output_without_all_rows_of_the_input_is_a_failure(tmp_path, written, problem):
    (tmp_path / "in.tsv").write_text("id\ttext\n1\ta\n2\tb\n")
    if written is not None:
        (tmp_path / "out.tsv").write_text(written)
    assert predict_speed.problem_of_output(tmp_path / "in.tsv", tmp_path / "out.tsv") == problem


def test_a_contender_that_did_other_work_has_failed(monkeypatch):
    monkeypatch.setattr(contest, "_run", lambda *_: {"work": {"sentences": 5, "tokens": 0}, "wall_s": 1.0})

    def problem_of(_, result):
        return contest.undone(result, {"sentences": 5, "tokens": 2750})

    (found,) = contest.rounds_of({"ours": []}, 1, 1, problem_of)
    assert found == {"ours": [{"error": "did other work: 5 sentences of 5, 0 tokens of 2,750"}]}


def test_no_generator_is_called_without_being_iterated_over():
    """A generator that is only called does nothing."""
    files = [*(BENCHMARKS.parent.parent / "mbert_cli").rglob("*.py"), *BENCHMARKS.rglob("*.py")]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    generators = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and yields(node) and not node.decorator_list
    }
    assert "predict_table" in generators
    dropped = [
        f"{path}:{node.lineno}: {name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        for name in [getattr(node.value.func, "id", getattr(node.value.func, "attr", ""))]
        if name in generators
    ]
    assert not dropped


def yields(function):
    """Return whether a function is a generator: it yields, not counting functions inside it."""
    todo = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)
    return False


# The GPU session


def test_the_gpu_session_measures_steps_and_predictions(run, monkeypatch, tmp_path):
    small = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 48, "vocab_size": 300}
    shapes = encoders.shape_of
    monkeypatch.setattr(gpu_session, "shape_of", lambda name: replace(shapes(name), **small))
    monkeypatch.setattr(gpu_session, "_ROWS", 20)

    def output_of(_, command, folder):
        return commands.program(Path(command[1]), *command[2:], cwd=tmp_path, OMP_NUM_THREADS="1").stdout

    monkeypatch.setattr(gpu_session.Session, "_output_of", output_of)
    monkeypatch.setitem(gpu_session.PREDICTING, "st_bf16", "not_installed_here")
    contenders = "mbert,hf_bf16_fused,hf_flash"
    words = (
        "--encoders",
        "minilm-random",
        "--tokens",
        "100,200",
        "--contenders",
        contenders,
        "--parts",
        "steps,small,prediction",
        "--texts",
        "1,3",
        "--distinct",
        1,
    )
    found = run(
        gpu_session, "--device", "cpu", *words, "--steps", 1, "--warm-up", 1, "--profiled", 1, "--pairs", 9, "--peak", 1
    )
    expected = [(name, tokens) for name in contenders.split(",")[:2] for tokens in (100, 200)]
    assert [(row["contender"], row["tokens"]) for row in found["steps"]] == expected
    assert all("error" not in row and row["mfu"] > 0 and "kernels" not in row for row in found["steps"])
    assert found["left_out"] == ["minilm-random hf_flash: flash_attn is not installed"]
    assert [(row["contender"], row["texts"]) for row in found["small"]] == [
        (name, size) for size in (1, 3) for name in gpu_session.SMALL
    ]
    assert all(row["sentences_per_s"] > 0 for row in found["small"])
    hashes = [row["sha256"] for row in found["small"]]
    assert (hashes[0], hashes[3]) == (hashes[1], hashes[4])  # on a CPU, none of them has graphs
    assert [row["same_bits"] for row in found["small"]] == [each == hashes[i // 3 * 3] for i, each in enumerate(hashes)]
    assert hashes[0] != hashes[3]
    check_all_ran(found["prediction"]["rows"], ["quora_bf16", "quora_hf_bf16"])
    assert {row["sentences"] for row in found["prediction"]["rows"]} == {18}


@pytest.mark.parametrize(
    ("spans", "length"), [([], 0), ([(1, 3)], 2), ([(4, 6), (1, 3), (2, 5)], 5), ([(0, 9), (2, 3), (20, 21)], 10)]
)
def test_overlapping_kernels_are_counted_once(spans, length):
    assert watched_steps.covered(spans) == length


def test_kernels_launches_and_busy_time_of_a_step_are_counted():
    steps = watched_steps.WatchedSteps([0, 1, 2, 3, 4], {"warm_up": 1, "steps": 2, "device": "cuda"})
    events = [
        ("cudaLaunchKernel", "CPU", 0, 9),
        ("cudaGraphLaunch", "CPU", 9, 10),
        ("aten::mm", "CPU", 0, 10),
        ("gemm", "CUDA", 2000, 5000),
        ("Memcpy HtoD", "CUDA", 4000, 8000),
    ]
    steps._events = [
        SimpleNamespace(name=name, device_type=f"DeviceType.{device}", time_range=SimpleNamespace(start=start, end=end))
        for name, device, start, end in events
    ]
    assert steps.figures() == {"seconds_per_step": 0.0, "kernels": 1.0, "launches": 1.0, "gpu_ms": 3.0}
    on_cpu = watched_steps.WatchedSteps([0, 1, 2], {"warm_up": 1, "steps": 1, "device": "cpu"})
    assert list(on_cpu) == [0, 1, 2]
    assert on_cpu.figures()["seconds_per_step"] > 0


def test_operations_of_a_step_are_those_of_its_matrix_products():
    shape = EncoderShape(vocab_size=9, hidden_size=8, num_layers=3, num_heads=2, intermediate_size=20, max_positions=9)
    projections, inner = 4 * 2 * 8 * 8, 2 * 2 * 8 * 20  # of a token: queries, keys, values, outputs; both of the MLP
    attention = 2 * 2 * 5 * 5 * 8 + 2 * 2 * 3 * 3 * 8  # of sentences with 5 and 3 tokens: weights, weighted values
    forward = 3 * (8 * (projections + inner) + attention)
    assert gpu_figures.step_flops(shape, [5, 3]) == 3 * forward


def test_targets_are_compared_with_what_was_measured():
    steps = {
        ("minilm-random", "mbert", 2750): {"steps_per_s": 300.0, "busy": 0.5},
        ("minilm-random", "hf_bf16_fused", 2750): {"steps_per_s": 60.0},
        ("minilm-random", "st_bf16", 2750): {"error": "out of memory"},
    }
    assert gpu_figures.targets(steps, {"quora_bf16": 60.0, "quora_st_bf16": 10.0}) == {
        "MiniLM, 2.75k tokens: steps per second": (300.0, 400),
        "MiniLM, 2.75k tokens: times as fast as transformers": (5.0, 4),
        "MiniLM, 2.75k tokens: busy share": (0.5, 0.90),
        "prediction: times as fast as sentence-transformers": (6.0, 5),
    }
    assert gpu_figures.peak_tflops("NVIDIA H100 PCIe") == 756.0
    assert gpu_figures.peak_tflops("Some GPU") is None
