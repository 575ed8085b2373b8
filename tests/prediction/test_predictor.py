import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from tiny_runs import QUIET, options
from word_salad import sentences

from mbert_cli import Predictor
from mbert_cli.adapters.lora import LoRA
from mbert_cli.data.batching import TaskData
from mbert_cli.data.table import Table
from mbert_cli.errors import CheckpointError, DataError, UsageError
from mbert_cli.evaluation.options import EvaluationFiles
from mbert_cli.evaluation.run_outcomes import run_outcomes
from mbert_cli.model.components import load_recipe
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.prediction.output_formats import CourseSubmission, TextTable
from mbert_cli.prediction.predict_table import predict_table
from mbert_cli.prediction.run_model import run_model
from mbert_cli.prediction.table_tasks import choose_tasks
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import fit


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny.write_recipe(folder / "recipe.yaml", tiny_checkpoint, tiny_files)
    (folder / "run").mkdir()
    fit(load_recipe(str(recipe)), RunFolder(folder / "run"), options())
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def predictor(run):
    return Predictor(run, device="cpu", precision="fp32")


def written(predictor, table, tasks, out, format_=TextTable, **options):
    """Predict a table; return the number of rows written after each piece."""
    return list(predict_table(predictor, table, tasks, format_("-").writer(out, predictor, table, tasks), **options))


def predicted(predictor, path, tasks=(), limit=None):
    out = io.StringIO()
    with Table(str(path)) as table:
        counts = written(predictor, table, choose_tasks(predictor, table, tasks), out, limit=limit)
    return counts[-1] if counts else 0, out.getvalue()


def parsed(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_every_row_and_column_is_kept_in_order(predictor, tmp_path):
    path = tmp_path / "in.tsv"
    rows = [[str(i), s, f'note "{i}"\twith a tab\nand a line'] for i, s in enumerate(sentences(50, 7))]
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["id", "text", "note"], *rows])
    count, text = predicted(predictor, path)
    assert count == 50
    assert list(parsed(text)[0]) == ["id", "text", "note", "pred", "p_low", "p_mid", "p_high"]
    assert [[row["id"], row["text"], row["note"]] for row in parsed(text)] == rows
    for row in parsed(text):
        shares = {label: float(row[f"p_{label}"]) for label in ("low", "mid", "high")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["pred"] == max(shares, key=shares.get)


def test_predictions_do_not_depend_on_batch_size_or_order(run):
    texts = sentences(300, 8, longest=14)
    order = np.random.default_rng(0).permutation(len(texts))
    results = []
    for batch_size in (1, 7, 64, None):
        predictor = Predictor(run, device="cpu", precision="fp32", batch_size=batch_size)
        results.append(np.array(predictor({"text": texts}, task="mood")["p_low"]))
        shuffled = predictor({"text": [texts[i] for i in order]}, task="mood")["p_low"]
        results.append(np.array(shuffled)[np.argsort(order)])
    for other in results[1:]:
        assert np.abs(results[0] - other).max() <= 1e-5


def test_windows_do_not_change_predictions(predictor, tmp_path, monkeypatch):
    path = tmp_path / "in.tsv"
    path.write_text("text\n" + "\n".join(sentences(30, 9)) + "\n")
    _, whole = predicted(predictor, path)
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 7)
    count, windows = predicted(predictor, path)
    assert count == 30
    for one, other in zip(parsed(whole), parsed(windows), strict=True):
        assert one["text"] == other["text"]
        assert float(one["p_low"]) == pytest.approx(float(other["p_low"]), abs=1e-5)


def test_a_window_has_a_limited_amount_of_text(predictor, tmp_path, monkeypatch):
    path = tmp_path / "in.tsv"
    path.write_text("text\n" + "\n".join(sentences(30, 9)) + "\n")
    _, whole = predicted(predictor, path)
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_CHARACTERS", 100)
    out = io.StringIO()
    with Table(str(path)) as table:
        counts = written(predictor, table, ["mood"], out)
    assert len(counts) > 5
    rows, expected = parsed(out.getvalue()), parsed(whole)
    assert [row["text"] for row in rows] == [row["text"] for row in expected]
    scores = [column for column in expected[0] if column.startswith("p_")]
    assert len(scores) == 3
    for column in scores:  # the last digits depend on the rows that are computed together
        expected_scores = [float(row[column]) for row in expected]
        assert [float(row[column]) for row in rows] == pytest.approx(expected_scores, abs=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_batch_that_does_not_fit_in_memory_is_computed_in_halves(predictor, monkeypatch, error):
    texts = sentences(100, 3)
    whole = predictor({"text": texts}, task="mood")
    real, refused, sizes = MultiTaskBert.forward, [], []

    def small(self, batch, both_orders):
        if len(batch.token_ids) > 150:
            refused.append(len(batch.token_ids))
            raise error
        sizes.append(len(batch.token_ids))
        return real(self, batch, both_orders)

    monkeypatch.setattr(MultiTaskBert, "forward", small)
    found = predictor({"text": texts}, task="mood")
    assert found["pred"] == whole["pred"]
    assert np.allclose(found["p_low"], whole["p_low"], atol=1e-6)
    assert 1 < len(refused) < 6  # later batches of that size are not tried
    assert max(sizes) > 50
    monkeypatch.setattr(MultiTaskBert, "forward", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)):
        predictor({"text": texts[:1]}, task="mood")


def test_other_errors_than_out_of_memory_are_raised(predictor, monkeypatch):
    monkeypatch.setattr(MultiTaskBert, "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("sizes differ")))
    with pytest.raises(RuntimeError, match="sizes differ"):
        predictor({"text": ["a cat", "a dog"]}, task="mood")


def test_predict_table_skips_the_rows_that_were_written_before(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("mbert_cli.prediction.windows._MOST_ROWS", 7)
    path = tmp_path / "in.tsv"
    path.write_text("text\n" + "\n".join(sentences(30, 9)) + "\n")
    _, whole = predicted(predictor, path, limit=25)
    out = io.StringIO()
    with Table(str(path)) as table:
        assert written(predictor, table, ["mood"], out, limit=25, done=14) == [21, 25]
    assert whole.splitlines()[15:] == out.getvalue().splitlines()


def test_columns_of_several_tasks_start_with_the_task(predictor, tiny_files):
    _, text = predicted(predictor, tiny_files / "near-dev.tsv")
    columns = list(parsed(text)[0])
    assert columns == ["id", "one", "two", "near", "same_pred", "same_score", "near_pred", "near_score"]
    _, alone = predicted(predictor, tiny_files / "near-dev.tsv", ["near"])
    assert [row["near_pred"] for row in parsed(text)] == [row["pred"] for row in parsed(alone)]


def test_pair_scores_are_probabilities_and_cosines(predictor, tiny_files):
    _, text = predicted(predictor, tiny_files / "near-dev.tsv")
    for row in parsed(text):
        assert row["same_pred"] == ("1" if float(row["same_score"]) > 0.5 else "0")
        assert float(row["near_pred"]) == pytest.approx(5 * max(0, float(row["near_score"])), abs=1e-4)


def test_json_lines_keep_their_objects(predictor, tmp_path):
    path = tmp_path / "in.jsonl"
    records = [{"text": s, "n": i, "deep": {"a": [i]}} for i, s in enumerate(sentences(5, 3))]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    _, text = predicted(predictor, path)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [{key: line[key] for key in ("text", "n", "deep")} for line in lines] == records
    assert all(isinstance(line["p_low"], float) for line in lines)


def test_outputs_of_comma_separated_files_are_comma_separated(predictor, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('text,x\n"the cat, the dog",1\n')
    _, text = predicted(predictor, path)
    assert text.splitlines()[0] == "text,x,pred,p_low,p_mid,p_high"
    assert text.splitlines()[1].startswith('"the cat, the dog",1,')


def test_commas_in_a_file_of_one_column_are_text(predictor, tmp_path):
    path = tmp_path / "in.tsv"
    path.write_text("text\nthe cat, the dog\n")
    assert parsed(predicted(predictor, path)[1])[0]["text"] == "the cat, the dog"


def test_a_file_with_only_a_header_gives_only_a_header(predictor, tmp_path):
    path = tmp_path / "in.tsv"
    path.write_text("id\ttext\n")
    assert predicted(predictor, path) == (0, "id\ttext\tpred\tp_low\tp_mid\tp_high\n")


def test_limit_stops_early(predictor, tmp_path):
    path = tmp_path / "in.tsv"
    path.write_text("text\n" + "\n".join(sentences(30, 9)) + "\n")
    assert predicted(predictor, path, limit=4)[0] == 4


def test_the_course_format_has_the_exact_layout(predictor, tmp_path):
    path = tmp_path / "in.tsv"
    path.write_text("0\t\tid\tone\ttwo\n1\t0.0\tabc\tthe cat\tthe dog\n2\t1.0\tdef\tthe cat\tthe cat\n")
    out = io.StringIO()
    with Table(str(path)) as table:
        assert written(predictor, table, ["same"], out, CourseSubmission) == [0, 2]
    expected = predictor({"one": ["the cat", "the cat"], "two": ["the dog", "the cat"]}, task="same")["pred"]
    assert out.getvalue() == f"id \t Predicted_Is_Paraphrase \nabc , {expected[0]} \ndef , {expected[1]} \n"


JOINED = (
    "training.max_length=48",
    "tasks.same.head={kind: classification, num_classes: 2}",
    "tasks.near.head={kind: regression}",
)


@pytest.fixture
def joined(tiny_recipe, tmp_path):
    """A run with tasks that read a pair as one sequence."""
    folder = tmp_path / "joined"
    folder.mkdir()
    fit(load_recipe(str(tiny_recipe), JOINED), RunFolder(folder), options())
    return Predictor(folder, device="cpu", precision="fp32")


def test_a_head_of_one_vector_reads_a_pair_as_one_sequence(joined):
    one, two = sentences(40, 3), sentences(40, 4)
    model, tokenizer = joined.saved.model, joined.saved.tokenizer
    data = TaskData((tokenizer.encode(one, two),), None)
    for task in ("same", "near"):
        expected = model.head(task).predict(run_model(model, task, data))
        assert joined({"one": one, "two": two}, task=task) == expected
        assert joined({"one": two, "two": one}, task=task) != expected


def test_pairs_read_as_one_sequence_are_evaluated_as_they_are_predicted(joined, tiny_recipe):
    task = joined.saved.task("near")
    found = run_outcomes(joined, EvaluationFiles(tasks=["near"]), QUIET).evaluation().metrics["tasks"]["near"]
    rows = list(csv.DictReader(Path(task.dev).read_text().splitlines(), delimiter="\t"))
    predicted = joined({"one": [row["one"] for row in rows], "two": [row["two"] for row in rows]}, task="near")["pred"]
    assert found["mae"] == pytest.approx(
        np.mean([abs(p - float(row["near"])) for p, row in zip(predicted, rows, strict=True)]), rel=1e-5
    )


@pytest.mark.parametrize(("task", "name"), [("mood", "Sentiment"), ("same", "Is_Paraphrase"), ("near", "Similiary")])
def test_the_header_of_the_course_format_depends_on_the_kind_of_task(joined, tmp_path, task, name):
    path = tmp_path / "in.tsv"
    path.write_text("id\ttext\tone\ttwo\nabc\tthe cat\tthe cat\tthe dog\n")
    out = io.StringIO()
    with Table(str(path)) as table:
        assert written(joined, table, [task], out, CourseSubmission) == [0, 1]
    assert out.getvalue().startswith(f"id \t Predicted_{name} \nabc , ")


@pytest.mark.parametrize(
    ("text", "tasks", "message"),
    [
        ("id\ttxt\n1\ta\n", ["mood"], r"in.tsv:1: has no column 'text', needed as .*; did you mean 'txt'\?"),
        ("id\tx\n1\ta\n", [], r"in.tsv:1: has no task's text columns \(mood: text; same: one, two; near: one, two\)"),
        (
            "one\tx\n1\ta\n",
            [],
            r"in.tsv:1: has no column two, which task same reads; .* it has one, x\. Say which is which with --columns",
        ),
        (
            "One\ttwo\n1\ta\n",
            [],
            r"has no column one, which task same reads; .* it has One, two\. Add --columns one=One \(in a recipe",
        ),
        ("id\tTEXT\n1\ta\n", ["mood"], r"has no column 'text', .*; did you mean 'TEXT'\?"),
        ("7\ta cat\n1\ta\n", [], r"has no task's text columns .* The first line looks like data; if the file has no"),
        ("a\ta cat on a street\n1\ta\n", ["mood"], r"has no column 'text', .* The first line looks like data; if"),
        (
            "text\tpred\na\tb\n",
            [],
            r"in.tsv:1: already has columns that the prediction would add \(pred\); leave them out: --keep text\.",
        ),
        ("text\tx\na\n", [], r"in.tsv:2: has 1 column, but the header has 2"),
    ],
)
def test_inputs_that_cannot_be_predicted_are_refused_with_their_line(predictor, tmp_path, text, tasks, message):
    path = tmp_path / "in.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        predicted(predictor, path, tasks)


def test_an_unknown_task_is_refused_with_the_nearest_name(predictor, tiny_files):
    with pytest.raises(CheckpointError, match=r"no task 'mod'; did you mean 'mood'\? Known: mood, near, same"):
        predicted(predictor, tiny_files / "mood-dev.tsv", ["mod"])


def test_predictor_requires_the_task_and_its_columns(predictor):
    with pytest.raises(UsageError, match="several tasks; name one: mood, same, near"):
        predictor({"text": ["a"]})
    with pytest.raises(DataError, match="reads the columns one, two, but there is no 'two'"):
        predictor({"one": ["a"]}, task="same")
    assert predictor({"text": []}, task="mood") == {"pred": [], "p_low": [], "p_mid": [], "p_high": []}


def test_evaluate_gives_the_metrics_of_the_training(run):
    best = json.loads((run / "model" / "config.json").read_text())["scores"]
    found = run_outcomes(Predictor(run, device="cpu", precision="fp32"), EvaluationFiles(), QUIET).evaluation().metrics
    for task, metrics in found["tasks"].items():
        for name, value in metrics.items():
            if isinstance(value, float):
                assert value == pytest.approx(best["tasks"][task][name], abs=1e-6), (task, name)
    assert found["overall"] == pytest.approx(best["overall"], abs=1e-6)


def test_evaluate_takes_other_files_and_tasks(run, tiny_files):
    other = {"mood": str(tiny_files / "mood-train.tsv")}
    found = run_outcomes(
        Predictor(run, device="cpu", precision="fp32"), EvaluationFiles(others=other), QUIET
    ).evaluation()
    assert {task: metrics["examples"] for task, metrics in found.metrics["tasks"].items()} == {"mood": 20}
    (mood,) = found.predictions["mood"]
    assert mood.lines == list(range(2, 22))
    assert [len(column) for column in mood.columns.values()] == [20] * 4
    with pytest.raises(UsageError, match="task mood has no test file"):
        run_outcomes(
            Predictor(run, device="cpu", precision="fp32"), EvaluationFiles(split="test", tasks=["mood"]), QUIET
        )


def test_the_model_folder_is_enough_to_predict(run, tmp_path, predictor):
    texts = {"text": sentences(5, 1)}
    expected = predictor(texts, task="mood")
    moved = (run / "model").rename(tmp_path / "moved")
    again = Predictor(moved, device="cpu", precision="fp32")
    assert again(texts, task="mood") == expected


@pytest.mark.parametrize("name", ["tasks/mood.safetensors", "config.json", "encoder/tokenizer.json"])
def test_an_altered_model_file_is_refused_by_name(run, name):
    path = run / "model" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{path.name}: was altered: its sha256 is"):
        Predictor(run)({"text": ["cat"]}, task="mood")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run folder: it has no recipe.yaml and no model/"):
        Predictor(tmp_path)
    with pytest.raises(CheckpointError, match="there is no such run folder"):
        Predictor(tmp_path / "nope")


@pytest.mark.parametrize("adapters", ["[lora, top]", "[houlsby, ia3, {kind: lora, targets: [output]}, bitfit]"])
def test_folded_adapters_predict_the_same(tiny_recipe, tmp_path, adapters):
    settings = [f"adapters={adapters.replace('houlsby', '{kind: houlsby, rank: 4, train_layer_norms: true}')}"]
    settings += ["training.adapter_learning_rate=0.05", "training.epochs=1"]
    (tmp_path / "run").mkdir()
    fit(load_recipe(str(tiny_recipe), settings), RunFolder(tmp_path / "run"), options())
    plain, folded = (Predictor(tmp_path / "run", device="cpu", precision="fp32", fold=fold) for fold in (False, True))
    columns = {"text": sentences(60, 1), "one": sentences(60, 2), "two": sentences(60, 3)}
    for task, column in (("mood", "p_low"), ("same", "score"), ("near", "score")):
        one, other = (np.array(each(columns, task=task)[column]) for each in (plain, folded))
        assert np.abs(one - other).max() <= 1e-5
        assert np.ptp(one) > 1e-3


@pytest.mark.parametrize("fold", [False, True])
def test_folded_adapters_are_no_longer_computed(tiny_recipe, tmp_path, fold):
    (tmp_path / "run").mkdir()
    recipe = load_recipe(str(tiny_recipe), ["adapters=[lora, {kind: houlsby, rank: 4}]", "training.epochs=1"])
    fit(recipe, RunFolder(tmp_path / "run"), options())
    predictor = Predictor(tmp_path / "run", device="cpu", precision="fp32", fold=fold)
    texts = sentences(20, 1)
    before = predictor(texts, task="mood")
    (lora,) = (each for each in predictor.saved.model.task("mood").adapter_list() if isinstance(each, LoRA))
    for parameter in lora.parameters():
        torch.nn.init.ones_(parameter)
    assert (predictor(texts, task="mood") == before) == fold


def test_the_encoder_is_not_copied_if_nothing_can_be_folded(run):
    predictor = Predictor(run, device="cpu", precision="fp32", fold=True)
    texts = sentences(20, 1)
    before = predictor(texts, task="mood")
    torch.nn.init.zeros_(predictor.saved.model.encoder.word_embeddings.weight)
    assert predictor(texts, task="mood") != before


def test_bf16_predictions_are_close_to_fp32(run):
    texts = {"text": sentences(40, 5)}
    fp32 = Predictor(run, device="cpu", precision="fp32")(texts, task="mood")
    bf16 = Predictor(run, device="cpu", precision="bf16")(texts, task="mood")
    assert np.abs(np.array(fp32["p_low"]) - np.array(bf16["p_low"])).max() < 0.03


@pytest.mark.gpu
def test_cuda_predictions_equal_the_cpus(run):
    texts = {"text": sentences(100, 5, longest=14)}
    cpu = Predictor(run, device="cpu", precision="fp32")(texts, task="mood")
    gpu = Predictor(run, device="cuda", precision="fp32")(texts, task="mood")
    assert np.abs(np.array(cpu["p_low"]) - np.array(gpu["p_low"])).max() < 1e-4


LONG = " ".join(["cat"] * 20)


@pytest.mark.parametrize("call", ["predict", "embed"])
def test_a_call_warns_once_of_all_rows_that_were_cut(predictor, call):
    calls = {"predict": predictor, "embed": predictor.embed}
    with pytest.warns(UserWarning, match="were cut") as warned:
        calls[call](["a cat", LONG, LONG], task="mood")
    assert [str(each.message) for each in warned] == [
        "2 of 3 rows of task mood were cut at 16 tokens: train with a larger training.max_length (this encoder reads "
        "up to 48 tokens), or with tasks.mood.windows.stride=8 (reads long texts in windows)."
    ]
