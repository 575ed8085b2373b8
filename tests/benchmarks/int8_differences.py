"""Compare int8 with fp32 on the course's data: sentence vectors of the demo's encoder, and outputs of heads.

The heads of the paper's three tasks have random weights, so no training is needed. The texts are those of the course,
and texts that are difficult to quantise: empty ones, one word repeated, symbols, and texts of 512 tokens.
"""

import argparse
import tempfile
from pathlib import Path

import contest
import numpy as np
from encoders import HELP, checkpoint_folder
from ours import course_recipe, load, save_untrained
from rich.table import Table
from workload import COLUMNS, course_file

LONGEST = 512
ODD = ("", " ", "a", "?!?!", "the " * 600, "0 " * 600, "\u4e2d\u6587 " * 300, "http://example.com/" + "x" * 3000)
"""Texts that are difficult to quantise. An empty text has only special tokens."""


def main():
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=contest.positive, default=2000, help="maximum number of dev rows of a task")
    parser.add_argument("--encoder", default="minilm", help=HELP)
    parser.add_argument("--threads", type=contest.positive, default=2)
    parser.add_argument("--json", type=Path, help="write the differences to this file")
    parser.set_defaults(device="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measured(Path(name), options)
    contest.write_json(options.json, {"rows": rows, "settings": contest.facts(options)})
    table = Table(title=f"int8 compared with fp32, {options.encoder}", title_justify="left")
    for column in ("texts", "rows", "values", "largest difference", "mean difference", "standard deviation in fp32"):
        table.add_column(column, justify="left" if column in ("texts", "values") else "right")
    for row in rows:
        numbers = (f"{row[key]:.4f}" for key in ("largest", "mean", "deviation"))
        table.add_row(row["texts"], f"{row['rows']:,}", row["values"], *numbers)
    contest.show(table)


def measured(folder, options):
    """Return one row for the outputs of each task and one for the vectors of each kind of text."""
    import torch

    from mbert_cli.encoder.checkpoint import read_shape
    from mbert_cli.prediction.predictor import Predictor

    torch.set_num_threads(options.threads)
    weights, run = folder / "encoder", folder / "run"
    for each in (weights, run):
        each.mkdir()
    encoder = checkpoint_folder(options.encoder, weights)
    recipe, longest = course_recipe(str(encoder)), min(LONGEST, read_shape(encoder).max_positions)
    recipe["training"]["max_length"] = longest
    save_untrained(load(recipe, folder), run)
    int8, fp32 = (Predictor(run, device="cpu", precision=each) for each in ("int8", "fp32"))
    rows = []
    for task in COLUMNS:
        sides, texts = sides_of(task, options.rows), f"{task} dev"
        outputs = [outputs_of(each, task, sides) for each in (int8, fp32)]
        rows.append(row_of(texts, "outputs of the head", *outputs))
        rows.append(row_of(texts, "sentence vectors", *(vectors_of(each, sides[0]) for each in (int8, fp32))))
    sentences = sides_of("sts", options.rows)[0]
    long = [" ".join(sentences[start : start + 100]) for start in range(0, len(sentences), 100)]
    for texts, name in ((long, f"texts of {longest} tokens"), (list(ODD), "difficult texts")):
        rows.append(row_of(name, "sentence vectors", *(vectors_of(each, texts) for each in (int8, fp32))))
    return rows


def sides_of(task, limit):
    """Return the texts of a task's dev rows, one list for each text column."""
    import csv

    columns = COLUMNS[task][1]
    with open(course_file(task, "dev"), newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if all(row[column] for column in columns)]
    return [[row[column] for row in rows[:limit]] for column in columns]


def outputs_of(predictor, task, sides):
    """Return the outputs of a task's head: logits or cosines."""
    from mbert_cli.prediction.run_model import run_model

    return run_model(predictor.saved.model, task, predictor.tokenise(sides, task)).numpy()


def vectors_of(predictor, texts):
    """Return the vectors of texts, as the heads read them."""
    data = predictor.tokenise_to_embed([texts], next(iter(COLUMNS)))
    return predictor.embed_tokens(data, next(iter(COLUMNS)))


def row_of(texts, values, int8, fp32):
    """Return the differences between two arrays with one row for each text."""
    assert np.isfinite(int8).all()
    difference = np.abs(int8 - fp32)
    return {
        "texts": texts,
        "rows": len(int8),
        "values": values,
        "largest": float(difference.max()),
        "mean": float(difference.mean()),
        "deviation": float(fp32.std()),
    }


if __name__ == "__main__":
    main()
