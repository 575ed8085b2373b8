"""Warnings about the folds of a cross-validation."""

import pytest
from tiny_runs import QUIET

from mbert_cli.model.components import load_recipe
from mbert_cli.training.fold_facts import fold_facts, selection_note

ROWS = [f"{number}\tgood dog {number}\t{'low' if number % 2 else 'high'}" for number in range(40)]


@pytest.fixture
def facts(tiny_recipe, tmp_path):
    def facts(*rows, task="mood", header="id\ttext\tmood", settings=(), **fold):
        file = tmp_path / "train.tsv"
        file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        values = ", ".join(f"{key}: {value}" for key, value in {"number": 1, "of": 4, **fold}.items())
        others = [f"tasks.{name}=null" for name in ("mood", "same", "near") if name != task]
        own = [f"tasks.{task}.train={file}", f"tasks.{task}.dev={file}", f"tasks.{task}.fold={{{values}}}"]
        return fold_facts(load_recipe(str(tiny_recipe), [*others, *own, *settings]), QUIET)[task]

    return facts


def test_folds_without_problems_have_no_warnings(facts):
    own = facts(*ROWS, *[f"{number}\tcat {number}\tmid" for number in range(40, 60)], stratify="true")
    assert own == {"rows": [15, 15, 15, 15], "leaked": 0, "warnings": []}


def test_equal_texts_in_several_folds_are_counted(facts):
    rows = [*ROWS, *[f"{number}\tthe same\tmid" for number in range(40, 60)]]
    own = facts(*rows)
    assert own["leaked"] == 20
    assert own["warnings"][0].startswith(
        "task mood: 20 of 60 rows have a text that also occurs in another fold, such as"
    )
    assert "'the same' (line 42, folds" in own["warnings"][0]
    assert own["warnings"][0].endswith("scores may be optimistic; --group text keeps equal texts in one fold")
    assert facts(*rows, group="text")["leaked"] == 0


def test_without_ids_equal_texts_are_in_one_fold(facts):
    rows = [row.partition("\t")[2] for row in ROWS]
    assert facts(*rows, *rows, header="text\tmood")["leaked"] == 0


def test_swapped_pairs_of_a_symmetric_task_are_equal(facts):
    rows = [f"{n}\tcat {n // 2}\tdog\t1" if n % 2 else f"{n}\tdog\tcat {n // 2}\t0" for n in range(40)]
    columns = {"task": "same", "header": "id\tone\ttwo\tsame"}
    assert facts(*rows, **columns)["leaked"] == 0
    own = facts(*rows, **columns, settings=["tasks.same.symmetric=true"])
    assert own["leaked"] > 0
    assert own["warnings"][0].endswith("give them the same value in a column, and add --group COLUMN")


def test_rare_classes_and_folds_without_a_class_are_reported(facts):
    rare, missing = facts(*ROWS, "40\tcat\tmid", *[f"4{n}\tcat {n}\tmid" for n in (1, 2)])["warnings"], []
    assert rare[0] == ("task mood: some folds have no row with mid, because the file has fewer such rows than folds")
    missing = facts(*ROWS, *[f"4{n}\tsame user\tmid" for n in range(6)], group="text")["warnings"]
    assert missing == ["task mood: some folds have no row with mid; --stratify spreads them evenly"]


def test_choosing_the_epoch_by_the_fold_is_reported(tiny_recipe):
    assert "training.select_after=0.99" in selection_note(load_recipe(str(tiny_recipe), []))
    assert selection_note(load_recipe(str(tiny_recipe), ["training.select_after=0.99"])) is None
