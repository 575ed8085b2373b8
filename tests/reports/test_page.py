import json
import re

import pytest
from made_runs import REFERENCE, make_run, texts, three

from mbert_cli.metrics import SCALAR_METRICS
from mbert_cli.reports.page import report_page
from mbert_cli.reports.run_report import read_runs
from mbert_cli.storage.metrics_file import Seconds


def test_a_run_with_only_recipe_and_metrics_has_a_page(tmp_path):
    make_run(tmp_path / "old", [three(0.4, 0.7, 0.6), three(0.5, 0.8, 0.8), three(0.45, 0.8, 0.8)], REFERENCE)
    shown = texts(report_page(read_runs([tmp_path / "old"])))
    assert "0.733 overall +0.003 against 0.730 of a paper, Table 5" in shown
    assert "overall is the mean of sst accuracy, quora accuracy and (sts pearson + 1) / 2." in shown
    assert "3 of 4 trained; the model of epoch 2 is kept" in shown
    assert "sst accuracy 0.500 published 0.489" in shown
    assert "Scores on dev" in shown
    assert "Training loss" not in shown  # these records have no losses
    assert "heads and pooling 1,000,000 1.00%" in shown


def test_a_comparison_marks_the_best_scores_and_lists_the_differences_of_recipes(tmp_path):
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)])
    make_run(tmp_path / "b", [three(0.4, 0.9, 0.8)], epochs=7, adapters="[]")
    page = report_page(read_runs([tmp_path / "a", tmp_path / "b"]))
    assert re.findall(r'<span class="best">([.\d]+)</span>', page) == [
        "0.500",
        "0.900",
    ]  # equal scores are not marked
    shown = texts(page)
    assert "training.epochs 4 7" in shown
    assert "adapters [{kind: pal, rank: 204}] []" in shown
    assert "training.seed" not in shown.partition("differs in their recipes")[2].partition("Tasks")[0]


def test_overall_scores_over_different_tasks_are_not_compared(tmp_path):
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)])
    make_run(tmp_path / "b", [{"sts": ("pearson", 0.9)}])
    page = report_page(read_runs([tmp_path / "a", tmp_path / "b"]))
    assert re.findall(r'<span class="best">([.\d]+)</span>', page) == ["0.900"]
    assert re.findall(r"<figcaption>(.*on dev)</figcaption>", page)[0] == "sts pearson on dev"


def test_components_are_shown_with_their_options(tmp_path):
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)], adapters="[{kind: pal, rank: 204}, {kind: top}]")
    assert "adapters pal(rank=204) + top" in texts(report_page(read_runs([tmp_path / "a"])))


def test_options_of_training_that_differ_from_the_defaults_are_shown(tmp_path):
    run = make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)])
    text = (run / "recipe.yaml").read_text(encoding="utf-8")
    text = text.replace("{epochs: 4}", "{epochs: 4, accumulate: 2}").replace(
        "num_classes: 2}", "num_classes: 2, focal: 2}"
    )
    (run / "recipe.yaml").write_text(text, encoding="utf-8")
    shown = texts(report_page(read_runs([run])))
    assert "batches 32 rows in 2 micro-batches training of sst focal 2 training of quora focal 2" in shown


def test_every_metric_that_is_one_number_has_a_name_on_the_page(tmp_path):
    metrics = {name: number / 16 for number, name in enumerate(SCALAR_METRICS, 1)}
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)], tasks={"sst": {"main_metric": "accuracy", **metrics}})
    shown = texts(report_page(read_runs([tmp_path / "a"])))
    assert [name for name, value in metrics.items() if f"{SCALAR_METRICS[name].title} {value:.4f}" not in shown] == []


def test_empty_columns_are_omitted(tmp_path):
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)], phases="", seconds=Seconds(0.0, 1.0))
    make_run(tmp_path / "b", [three(0.5, 0.8, 0.8)], step=75, phases="sequential", tokens=21_000)
    shown = [texts(report_page(read_runs([tmp_path / name]))).partition("Epochs")[2] for name in "ab"]
    assert "overall steps training dev 1 kept 0.500 0.800 0.800 0.733 10 0 s" in shown[0]
    assert "overall steps order training dev tokens/s 1 kept 0.500 0.800 0.800 0.733 75 sequential 10 s" in shown[1]
    assert "2,000" in shown[1]


def test_epochs_that_were_not_scored_have_no_scores(tmp_path):
    for name in "ab":
        metrics = make_run(tmp_path / name, [three(0.4, 0.6, 0.6), three(0.5, 0.8, 0.8)]) / "metrics.jsonl"
        first, second = (json.loads(each) for each in metrics.read_text().splitlines())
        first |= {"tasks": {}, "overall": None, "best": False}
        metrics.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    shown = texts(report_page(read_runs([tmp_path / "a"]))).partition("Epochs")[2]
    assert "1 10 simultaneous 10 s 2 min 0 2 kept 0.500 0.800 0.800 0.733 20 simultaneous 10 s" in shown
    assert "Overall score on dev" in report_page(read_runs([tmp_path / "a", tmp_path / "b"]))


def test_hardware_and_changes_of_a_resumed_run_are_shown(tmp_path):
    hardware = {"device": "cuda", "precision": "bf16"}
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)], hardware=hardware, drift=["epoch 2, step 0: recipe.seed"])
    shown = texts(report_page(read_runs([tmp_path / "a"])))
    assert "computed on cuda, bf16" in shown
    assert "resumed after a change: epoch 2, step 0: recipe.seed" in shown


def test_the_same_runs_give_the_same_bytes(tmp_path):
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)])
    first, second = (report_page(read_runs([tmp_path / "a"])) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["<script>", "a&b", "x\x1b[2J"])
def test_names_are_escaped(tmp_path, name):
    make_run(tmp_path / name, [three(0.5, 0.8, 0.8)])
    page = report_page(read_runs([tmp_path / name]))
    assert "<script>" not in page
    assert "\x1b" not in page
