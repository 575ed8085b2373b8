"""Run folders with made-up scores, and the text of their reports."""

import io
import re

from records import record
from rich.console import Console

from mbert_cli.reports.run_table import report_table
from mbert_cli.storage.metrics_file import metrics_text

REFERENCE = '{source: "a paper, Table 5", scores: {sst: .489, quora: .812, sts: .780}}'


def make_run(folder, scores, reference="null", epochs=4, adapters="[{kind: pal, rank: 204}]", **change):
    """Write the files of a run that `mbert report` reads: its recipe, and one line of metrics per element of scores."""
    folder.mkdir(parents=True)
    tasks = "\n".join(
        f"  {task}: {{train: a, dev: b, text: t, label: l, head: {{kind: classification, num_classes: 2}}}}"
        for task in scores[0]
    )
    (folder / "recipe.yaml").write_text(
        f"encoder: {{checkpoint: x}}\nadapters: {adapters}\nreference: {reference}\n"
        f"training: {{epochs: {epochs}}}\ntasks:\n{tasks}\n"
    )
    records = []
    for epoch, each in enumerate(scores, 1):
        metrics = {task: {"main_metric": metric, metric: value, "loss": 1.0} for task, (metric, value) in each.items()}
        overall = sum((value + 1) / 2 if metric == "pearson" else value for metric, value in each.values()) / len(each)
        best = overall > max((each.overall for each in records), default=-1)
        records.append(record(epoch, **{"tasks": metrics, "overall": overall, "best": best, **change}))
    (folder / "metrics.jsonl").write_text(metrics_text(records))
    return folder


def three(sst, quora, sts):
    return {"sst": ("accuracy", sst), "quora": ("accuracy", quora), "sts": ("pearson", sts)}


def printed(runs, width):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(report_table(runs))
    return console.file.getvalue()


def texts(page):
    """Return the words of a page in order, without markup and style."""
    body = page.partition("</style>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))
