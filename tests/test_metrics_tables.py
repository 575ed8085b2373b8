import io

import numpy as np
import pytest
from rich.console import Console

from mbert_cli.commands.tables import metrics_tables
from mbert_cli.metrics import classification_metrics


def printed(names, labels, predicted, width):
    metrics = classification_metrics(np.array(predicted), np.array(labels), names, positive=None)
    own = {"examples": len(labels), "loss": 1.0, "main_metric": "accuracy", **metrics}
    found = {"split": "dev", "overall": 0.5, "tasks": {"mood": own}}
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for table in metrics_tables(found):
        console.print(table)
    return console.file.getvalue()


def test_the_matrix_has_counts_and_shares_and_a_row_for_each_class():
    text = printed(["low", "high"], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], 100)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert ["low", "3 75%", "1 25%"] in rows
    assert ["high", "1 100%", "0 0%"] in rows
    assert ["low", "0.750", "0.750", "0.750", "4"] in rows
    assert ["high", "0.000", "0.000", "0.000", "1"] in rows
    assert ["macro", "0.375", "0.375", "0.375", "5"] in rows


def test_a_class_without_rows_has_no_scores_but_counts_in_the_macro_average():
    text = printed(["low", "high", "none"], [0, 0, 1], [0, 0, 1], 100)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert ["none", "-", "-", "-", "0"] in rows
    assert ["macro", "0.667", "0.667", "0.667", "3"] in rows


@pytest.mark.parametrize("number", [2, 5, 12, 60])
def test_sixty_columns_are_enough_for_any_number_of_classes(number):
    labels = np.arange(number).repeat(3)
    predicted = np.where(np.arange(len(labels)) % 3, labels, (labels + 1) % number)
    text = printed([f"label {i}" for i in range(number)], labels, predicted, 60)
    assert max(len(line) for line in text.splitlines()) <= 60
    assert "…" not in text


def test_a_matrix_that_does_not_fit_is_replaced_by_the_most_frequent_mistakes():
    labels = [0] * 5 + list(range(60))
    predicted = [1] * 5 + list(range(60))
    names = [f"class-{i}" for i in range(60)]
    text = printed(names, labels, predicted, 80)
    (row,) = [line for line in text.splitlines() if "class-0 " in line and "class-1 " in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["class-0", "class-1", "5", "83%"]
    assert "Most frequent mistakes of mood\n" in text
    assert "of 60 classes" in text
    assert "columns predicted ones" not in text


def test_the_matrix_has_its_heading():
    text = printed(["low", "high"], [0, 1], [0, 1], 100)
    assert "Confusion of mood: rows are true labels, columns predicted ones; % of the row\n" in text
    assert "mistakes" not in text


def test_the_overall_score_is_explained():
    assert "\noverall is mood accuracy\n" in printed(["low", "high"], [0, 1], [0, 1], 100)


def test_square_brackets_in_labels_are_not_markup():
    text = printed(["[red]", "[/b]"], [0, 1], [1, 1], 80)
    assert text.count("[red]") >= 3
    assert text.count("[/b]") >= 3
