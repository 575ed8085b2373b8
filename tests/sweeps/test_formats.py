"""The table of a sweep in all formats."""

import base64
import errno
import json
import shutil
from html.parser import HTMLParser

import pytest
from sweeping import (
    NOT_FINITE,
    PLAN,
    mbert_sweep,
    printed,
    result_of,
    table,
)

from mbert_cli.errors import RunFailedError, UsageError
from mbert_cli.sweeps.formats import as_html, as_markdown, as_tsv

PLAN_OF_ONE = """\
rows:
  - {name: only, recipe: recipe.yaml, settings: [training.epochs=1], seeds: [1]}
"""

DASH = "\N{EN DASH}"

HOSTILE = "<script>alert(1)</script>|*_`[x](javascript:y)\"'&\\"


class Nodes(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


def test_mean_and_range_are_those_of_the_seeds(here):
    mbert_sweep()
    row = table(here)["G", "none"]
    # By hand: .5 + .02 (two epochs) + .002 and .004 (seeds).
    scores = [float(row[f"mood_accuracy_{part}"]) for part in ("mean", "min", "max")]
    assert scores == pytest.approx([0.523, 0.522, 0.524])
    assert float(row["overall_mean"]) == pytest.approx(0.523)
    assert (row["done"], row["kept_epochs"], row["times_encoder"], row["train_seconds"]) == ("2", "2 2", "1.0", "60.0")
    # The stand-in has two adapters of 10 parameters and an encoder of 1000.
    assert table(here)["G", "both"]["times_encoder"] == "1.02"


def test_messages_about_one_run_and_one_epoch_are_singular(here, capsys):
    (here / "plan.yaml").write_text(PLAN_OF_ONE)
    mbert_sweep("--table")
    assert "0 of 1 run is done." in capsys.readouterr().out
    mbert_sweep()
    assert "1 of 1 run is done." in capsys.readouterr().out
    mbert_sweep()
    assert "1 of 1 run is done already\n" in capsys.readouterr().err
    (here / "out" / "runs" / "only-seed-1" / "metrics.jsonl").unlink()
    mbert_sweep("--table")
    assert "only, seed 1: was stopped; 0 of 1 epoch done" in capsys.readouterr().out


def test_the_table_is_rebuilt_from_the_runs(here):
    mbert_sweep("-q")
    before = {path.name: path.read_bytes() for path in (here / "out").glob("table.*")}
    assert set(before) == {"table.tsv", "table.md", "table.html"}
    for name in before:
        (here / "out" / name).unlink()
    shutil.rmtree(here / "out" / "logs")
    mbert_sweep("--table")
    assert {path.name: path.read_bytes() for path in (here / "out").glob("table.*")} == before


def test_the_table_of_a_read_only_sweep_is_printed(here, capsys, monkeypatch):
    mbert_sweep("-q")
    capsys.readouterr()

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    mbert_sweep("--table")
    shown = capsys.readouterr()
    assert "4 of 4 runs are done." in shown.out
    assert shown.err == "out: cannot be written (Permission denied); choose another path.\n"
    (here / "out" / "runs" / "g-none-seed-1" / "metrics.jsonl").unlink()
    mbert_sweep("--table")
    assert "none, seed 1: was stopped; 0 of 2 epochs done" in capsys.readouterr().out
    with pytest.raises(UsageError, match="out: cannot be written"):
        mbert_sweep()


def test_json_has_the_results_of_all_rows(here, capsys):
    mbert_sweep("-q", "--json")
    result = json.loads(capsys.readouterr().out)
    both, none, again = result["rows"]
    assert result["title"] == "Two methods"
    assert none["tasks"]["near"]["metric"] == "pearson"
    assert none["overall"]["values"] == pytest.approx([0.522, 0.524])
    assert [run["status"] for run in both["runs"]] == ["done", "done"]
    assert again["published"]["source"] == "a paper"


def test_the_best_mean_of_a_group_is_marked(here):
    mbert_sweep("-q")
    lines = {line.split("│")[1].strip(): line for line in printed(here, 200).splitlines() if line.count("│") > 3}
    # .5 + .02 + mean(.002, .004), and .1 for two adapters.
    assert f"0.623* (0.622{DASH}0.624)" in lines["both"]
    assert "*" not in lines["none"]
    assert "*" not in lines["both again"]
    assert f"**0.623** (0.622{DASH}0.624)" in as_markdown(result_of(here))
    assert as_html(result_of(here)).count('class="best"') == 4  # three tasks and overall


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_is_complete_at_every_width(here, width):
    mbert_sweep("-q")
    text = printed(here, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.replace("│", " ").split())
    for message in (
        "Two methods",
        "both again",
        "mood accuracy",
        "near pearson",
        f"(0.622{DASH}0.624)",
        "1.020x",
        "2/2",
        "60 s",
    ):
        assert message in words, (message, text)
    assert "0.600" in words
    assert "a paper" in words


def test_html_and_markdown_escape_hostile_names(here):
    plan = {
        "title": f"title {HOSTILE}",
        "rows": [
            {
                "group": f"group {HOSTILE}",
                "name": f"name {HOSTILE}\n\x1b[31m",
                "recipe": "recipe.yaml",
                "settings": [f"reference={json.dumps({'source': f'source {HOSTILE}', 'scores': {'mood': 0.5}})}"],
            },
            {"name": f"failing {HOSTILE}", "recipe": "recipe.yaml", "settings": [NOT_FINITE]},
        ],
    }
    (here / "plan.yaml").write_text(json.dumps(plan))  # JSON is YAML
    with pytest.raises(RunFailedError):
        mbert_sweep("-q")
    nodes = Nodes((here / "out" / "table.html").read_text())
    assert not {"script", "a", "img", "link"} & set(nodes.tags)
    assert not [name for name in nodes.attributes if name.startswith("on") or name in ("src", "href")]
    for word in ("title", "group", "name", "source", "failing"):
        assert f"{word} {HOSTILE}" in nodes.text
    text = (here / "out" / "table.md").read_text()
    assert "<script" not in text
    assert "[x](" not in text.replace("\\[x\\](", "")
    cells = [line for line in text.splitlines() if line.startswith("| name")]
    assert len(cells) == 1
    assert cells[0].replace("\\|", "").count("|") == 10
    assert "\x1b" not in text + nodes.text + as_tsv(result_of(here)) + printed(here, 200)


def test_the_page_loads_nothing_and_supports_dark_mode(here):
    mbert_sweep("-q")
    text = (here / "out" / "table.html").read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert Nodes(text).tags.count("tr") == 1 + 2 + 3  # headings, two groups, three rows


def test_the_figure_is_drawn_if_sizes_differ(here):
    mbert_sweep("-q")
    assert not (here / "out" / "scores.png").exists()  # all models of the stand-in have the same size
    frozen = PLAN + "  - {group: H, name: frozen, recipe: recipe.yaml, settings: [training.freeze_encoder=true]}\n"
    (here / "plan.yaml").write_text(frozen, encoding="utf-8")
    mbert_sweep("-q")
    drawn = (here / "out" / "scores.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert base64.b64encode(drawn).decode() in (here / "out" / "table.html").read_text()
    sizes = {(row.row.group, row.row.name): row.trained_parameters for row in result_of(here).rows}
    assert sizes == {("G", "both"): 1100, ("G", "none"): 1100, ("H", "both again"): 1100, ("H", "frozen"): 100}


def test_the_tables_are_written_if_the_figure_cannot_be_drawn(here, capsys, monkeypatch):
    monkeypatch.setattr("mbert_cli.sweeps.figure.draw_scores", lambda _: 1 / 0)
    mbert_sweep()
    assert "the figure could not be drawn (ZeroDivisionError: division by zero)" in capsys.readouterr().err
    assert len(table(here)) == 3
