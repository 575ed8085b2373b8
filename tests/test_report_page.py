import re

import pytest
from test_reporting import REFERENCE, make_run, three

from mbert_cli.report_page import report_page
from mbert_cli.reporting import read_runs


def texts(page):
    """Return a page's words, in order, without its markup and its style."""
    body = page.partition("</style>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def test_a_run_that_keeps_its_metrics_only_has_a_page_too(tmp_path):
    make_run(tmp_path / "old", [three(0.4, 0.7, 0.6), three(0.5, 0.8, 0.8), three(0.45, 0.8, 0.8)], REFERENCE)
    shown = texts(report_page(read_runs([tmp_path / "old"])))
    assert "0.733 overall +0.003 against 0.730 of a paper, Table 5" in shown
    assert "3 of 4; the model of epoch 2 is kept" in shown
    assert "sst accuracy 0.500 published 0.489" in shown
    assert "Scores on dev" in shown
    assert "Training loss" not in shown  # these lines tell of none
    assert "heads and pooling 1,000,000 1.00%" in shown


def test_runs_side_by_side_mark_the_best_and_tell_what_differs(tmp_path):
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)])
    make_run(tmp_path / "b", [three(0.4, 0.9, 0.8)], epochs=7, adapters="[]")
    page = report_page(read_runs([tmp_path / "a", tmp_path / "b"]))
    assert re.findall(r'<span class="best">([.\d]+)</span>', page) == [
        "0.500",
        "0.800",
        "0.733",
        "0.900",
        "0.800",
        "0.733",
    ]
    shown = texts(page)
    assert "training.epochs 4 7" in shown
    assert "adapters [{&#39;kind&#39;: &#39;pal&#39;, &#39;rank&#39;: 204}] []" in shown
    assert "training.seed" not in shown.partition("differs in their recipes")[2].partition("Tasks")[0]


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
