import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import REFERENCE, make_run, printed, three

from mbert_cli.errors import UsageError
from mbert_cli.reports.run_report import read_runs
from mbert_cli.reports.run_table import write_report


def tsv(runs):
    file = io.StringIO()
    write_report(file, runs)
    return list(csv.DictReader(io.StringIO(file.getvalue()), delimiter="\t"))


def test_a_run_has_the_scores_of_its_best_epoch(tmp_path):
    path = make_run(tmp_path / "a", [three(0.3, 0.7, 0.6), three(0.5, 0.8, 0.8), three(0.4, 0.8, 0.7)])
    (run,) = read_runs([path])
    assert run.scores.tasks == {("sst", "accuracy"): 0.5, ("quora", "accuracy"): 0.8, ("sts", "pearson"): 0.8}
    assert run.scores.overall == pytest.approx((0.5 + 0.8 + 0.9) / 3)
    assert run.train_seconds == 31.5
    assert run.times_encoder == pytest.approx(1.05)
    (row,) = tsv([run])
    assert (row["epochs"], row["planned_epochs"], row["kept_epoch"]) == ("3", "4", "2")
    assert (row["adapters"], row["sst_accuracy"], row["sts_pearson"]) == ("pal(rank=204)", "0.5", "0.8")
    text = printed([run], 200)
    for shown in (
        "pal(rank=204)",
        "mean",
        "total",
        "hybrid",
        "3/4, kept 2",
        "106.0M, 1.050x",
        "0.500",
        "0.733",
        "32 s",
    ):
        assert shown in text


def test_a_reference_and_the_difference_are_below_the_run(tmp_path):
    path = make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)], REFERENCE)
    (run,) = read_runs([path])
    own, paper, difference = tsv([run])
    assert [each["row"] for each in (own, paper, difference)] == ["run", "a paper, Table 5", "difference"]
    # By hand: (.489 + .812 + (.780 + 1) / 2) / 3.
    assert float(paper["overall"]) == pytest.approx(2.191 / 3)
    assert float(difference["sst_accuracy"]) == pytest.approx(0.011)
    assert float(difference["overall"]) == pytest.approx(2.2 / 3 - 2.191 / 3)
    text = printed([run], 200)
    assert "a paper, Table 5" in text
    assert "+0.011" in text
    assert "-0.012" in text
    found = run.as_json()["reference"]
    assert (found["source"], found["tasks"]["sts"]["value"]) == ("a paper, Table 5", 0.78)
    assert found["difference"]["tasks"]["quora"]["value"] == pytest.approx(-0.012)


@pytest.mark.parametrize(
    ("scores", "overall"),
    [
        pytest.param((0.537, 0.647, 0.636), 0.667, id="table 2, CLS"),
        pytest.param((0.505, 0.731, 0.805), 0.713, id="table 2, mean"),
        pytest.param((0.512, 0.720, 0.783), 0.708, id="table 3, squared"),
        pytest.param((0.506, 0.856, 0.830), 0.759, id="test"),
    ],
)
def test_the_overall_score_of_a_reference_is_that_of_the_paper(tmp_path, scores, overall):
    sst, quora, sts = scores
    reference = f"{{source: the paper, scores: {{sst: {sst}, quora: {quora}, sts: {sts}}}}}"
    (run,) = read_runs([make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)], reference)])
    assert round(run.reference.overall, 3) == overall


def test_a_reference_without_one_of_the_tasks_has_no_overall_score(tmp_path):
    (run,) = read_runs([make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)], "{source: x, scores: {sts: .9}}")])
    assert run.reference.overall is None
    assert run.difference.tasks == {("sts", "pearson"): pytest.approx(-0.1)}
    assert tsv([run])[1]["overall"] == ""


def test_runs_with_different_tasks_have_the_columns_of_all_tasks(tmp_path):
    first = make_run(tmp_path / "a", [{"x": ("accuracy", 0.5), "y": ("pearson", 0.2)}])
    second = make_run(tmp_path / "b", [{"y": ("pearson", 0.4), "z": ("accuracy", 0.9)}])
    rows = tsv(read_runs([first, second]))
    assert [(row["x_accuracy"], row["y_pearson"], row["z_accuracy"]) for row in rows] == [
        ("0.5", "0.2", ""),
        ("", "0.4", "0.9"),
    ]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_narrow_terminals_get_a_small_table_per_run(tmp_path, monkeypatch, width):
    monkeypatch.chdir(tmp_path)
    paths = [make_run(Path(name), [three(0.5, 0.8, 0.8)], REFERENCE) for name in "ab"]
    text = printed(read_runs(paths), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.count("overall") == 2
    assert text.count("reference: a paper, Table 5") == 2
    assert text.count("+0.011") == 2
    assert "…" not in text


def test_all_folders_that_are_no_runs_are_reported_together(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "other").mkdir()
    begun = make_run(tmp_path / "begun", [three(0.5, 0.8, 0.8)])
    (begun / "metrics.jsonl").unlink()
    good = make_run(tmp_path / "good", [three(0.5, 0.8, 0.8)])
    spoilt = make_run(tmp_path / "spoilt", [three(0.5, 0.8, 0.8)])
    (spoilt / "metrics.jsonl").write_text('{"epoch": 1\n')
    names = ["nowhere", "model", "other", "begun", "good", "spoilt"]
    with pytest.raises(UsageError) as error:
        read_runs([good, *(tmp_path / name for name in names)])
    message = list(error.value.problems)
    assert [problem.split(": ")[0].removeprefix(f"{tmp_path}/") for problem in message] == [
        "nowhere",
        "model",
        "other",
        "begun",
        "spoilt/metrics.jsonl:1",
    ]
    for problem, what in zip(
        message,
        ("no such run folder", "is a saved model", "is not a run folder", "no epoch", "is not JSON"),
        strict=True,
    ):
        assert what in problem


@pytest.mark.parametrize(("name", "shown"), [("runs", "runs/*"), ("my runs", "'my runs'/*")])
def test_a_folder_of_runs_is_refused_with_the_names_of_its_runs(tmp_path, monkeypatch, name, shown):
    monkeypatch.chdir(tmp_path)
    for run in "ba":
        make_run(Path(name) / run, [three(0.5, 0.8, 0.8)])
    with pytest.raises(UsageError) as error:
        read_runs([Path(name)])
    assert str(error.value) == f"{name}: is a folder of runs; name them: {shown}."
    assert len(read_runs(sorted(Path(name).glob("*")))) == 2


def report(*words, cwd):
    code = (
        "import sys; sys.argv = ['mbert', 'report', *sys.argv[1:]]\n"
        "from mbert_cli.cli import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'transformers', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", code, *words], cwd=cwd, capture_output=True, text=True)


def test_the_command_prints_a_table_json_and_tsv_without_torch(tmp_path):
    for name in "ab":
        make_run(tmp_path / name, [three(0.5, 0.8, 0.8)], REFERENCE)
    table = report("a", "b", cwd=tmp_path)
    assert (table.returncode, table.stderr.count("\n")) == (0, 1)
    assert "-o report.html writes a page" in table.stderr
    assert table.stdout.count("a paper, Table 5") == 2
    done = report("a", "b", "--json", "-o", "r.tsv", cwd=tmp_path)
    assert [json.loads(line)["run"] for line in done.stdout.splitlines()] == ["a", "b"]
    assert done.stderr == "wrote r.tsv\n"
    with (tmp_path / "r.tsv").open(newline="") as file:
        assert len(list(csv.reader(file, delimiter="\t"))) == 7
    refused = report("a", "-o", "r.tsv", cwd=tmp_path)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert report("a", "-o", "r.tsv", "--force", cwd=tmp_path).returncode == 0
    wrong = report("a", "c", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "c: there is no such run folder; mbert train writes one with -o.\n"


def test_an_output_with_an_unknown_extension_is_refused(tmp_path):
    make_run(tmp_path / "a", [three(0.5, 0.8, 0.8)])
    done = report("a", "-o", "page.htlm", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "page.htlm: is neither a page nor a table; end the name in .html or .tsv.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
