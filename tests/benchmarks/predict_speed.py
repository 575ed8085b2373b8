"""Prediction speed from TSV to TSV, of mbert and of other programs with the same weights."""

import csv
import statistics
import tempfile
from pathlib import Path

import contest
from encoders import HELP, checkpoint_folder
from predict_peers import PEERS
from workload import COLUMNS, MAX_LENGTH, course_file

OURS = ("bf16", "fp32", "int8")
TASKS = {"quora": "dev", "sst": "train"}
"""The split that is predicted for each task. SST's dev file is too small."""


def main():
    """Run the benchmark."""
    parser = contest.parser("Time the prediction of TSV files by mbert and by its peers, side by side.", rounds=3)
    parser.add_argument("--ours", type=contest.words, default=",".join(OURS), help="precisions; or none")
    contest.add_peer_options(parser, PEERS)
    parser.add_argument("--tasks", type=contest.words, default=",".join(TASKS), help="quora, sst")
    parser.add_argument("--pairs", type=contest.positive, default=6000, help="maximum number of Quora pairs")
    parser.add_argument("--sentences", type=contest.positive, default=6000, help="maximum number of SST sentences")
    parser.add_argument("--encoder", default="minilm", help=HELP)
    options = parser.parse_args()
    if options.device != "cpu":
        options.ours = [name for name in options.ours if name != "int8"]  # it runs on CPUs only
    contest.check_names(options.ours, OURS, "--ours")
    contest.check_names(options.peers, PEERS, "--peers")
    contest.check_names(options.tasks, TASKS, "--tasks")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contenders, work = contenders_in(folder, options)

        def problem_of(name, result):
            task = name.split("_")[0]
            wrong_output = problem_of_output(folder / f"{task}.tsv", folder / f"{name}.out")
            return wrong_output or contest.undone(result, work[task])

        for results in contest.rounds_of(contenders, options.rounds, options.threads, problem_of):
            rows = {name: row_of(name, runs, work[name.split("_")[0]]["sentences"]) for name, runs in results.items()}
            for task in options.tasks:
                compare_outputs(folder, [row for name, row in rows.items() if name.startswith(f"{task}_")])
            for output in folder.glob("*.out"):
                output.unlink()  # the next round must write a new one
            ratios, whole = {}, {}
            for task in options.tasks:
                ours, peers = ([f"{task}_{each}" for each in names] for names in (options.ours, options.peers))
                ratios |= contest.ratios_of(results, ours, peers, lambda run: run["work_s"])
                whole |= contest.ratios_of(results, ours, peers, lambda run: run["wall_s"])
            content = {"rows": list(rows.values()), "ratios": ratios, "ratios_with_start_up": whole}
            contest.write_json(options.json, {**content, "settings": contest.facts(options)})
    title = f"{options.encoder}, {options.threads} threads"
    contest.show(speed_table(title, rows, ratios, whole), contest.ratio_table(ratios))


def contenders_in(folder, options):
    """Write the inputs and a saved run. Return the command of each contender and the work of each task."""
    from ours import course_recipe, load, save_untrained

    weights, run = folder / "encoder", folder / "run"
    for each in (weights, run):
        each.mkdir()
    encoder = str(checkpoint_folder(options.encoder, weights))
    save_untrained(load(course_recipe(encoder), folder), run)
    contenders, work = {}, {}
    for task in options.tasks:
        source = folder / f"{task}.tsv"
        write_input(task, source, options.pairs if task == "quora" else options.sentences)
        work[task] = work_of(encoder, source)
        names = [(each, None) for each in options.ours] + [(each, each) for each in options.peers]
        for each, peer in names:
            name = f"{task}_{each}"
            files = {"input": str(source), "output": str(folder / f"{name}.out")}
            common = {"device": options.device, "task": task, **files}
            if peer is None:
                settings = {"procedure": "predict", "run": str(run), "precision": each}
                contenders[name] = contest.worker("ours.py", settings | common)
            else:
                settings = {"name": peer, "encoder": encoder, "head": str(run / f"model/tasks/{task}.safetensors")}
                python = contest.peer_python(peer, options.peer_python)
                contenders[name] = contest.worker("predict_peers.py", settings | common, python)
    return contenders, work


def write_input(task, path, limit):
    """Write a task's rows without their labels."""
    texts, count = COLUMNS[task][1], 0
    with (
        open(course_file(task, TASKS[task]), newline="", encoding="utf-8") as source,
        open(path, "w", newline="", encoding="utf-8") as file,
    ):
        out = csv.writer(file, delimiter="\t", lineterminator="\n")
        out.writerow(["id", *texts])
        for row in csv.DictReader(source, delimiter="\t"):
            if count < limit and all(row[text] and row[text].strip() for text in texts):
                out.writerow([row["id"], *(row[text] for text in texts)])
                count += 1


def work_of(encoder, path):
    """Return the numbers of sentences and tokens of an input, by the encoder's tokenizer."""
    from transformers import AutoTokenizer

    texts = [text for row in rows_of(path)[1:] for text in row[1:]]
    ids = AutoTokenizer.from_pretrained(encoder)(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return {"sentences": len(texts), "tokens": sum(map(len, ids))}


def problem_of_output(source, output):
    """Return what is wrong with an output, or "" if it has the input's rows in order, followed by probabilities."""
    expected, found = rows_of(source), rows_of(output) if output.exists() else []
    if len(found) != len(expected):
        return f"wrote {max(0, len(found) - 1):,} rows of {len(expected) - 1:,}"
    width = len(expected[0])
    wrong = [number for number, rows in enumerate(zip(expected, found, strict=True)) if rows[0] != rows[1][:width]]
    if wrong:
        return f"row {wrong[0]} of the output is not that of the input"
    numbers = [float(row[-1]) for row in found[1:]]
    wrong = [number for number, value in enumerate(numbers, 1) if not 0 <= value <= 1]
    return f"row {wrong[0]} of the output has no probability" if wrong else ""


def rows_of(path):
    """Return the rows of a TSV file, its header first."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t"))


def row_of(name, runs, sentences):
    """Return the figures of a contender after some rounds."""
    found = contest.good(runs)
    if not found:
        return {"name": name, "error": runs[-1]["error"]}
    work = statistics.median(run["work_s"] for run in found)
    whole = statistics.median(run["wall_s"] for run in found)
    limits = [run["limit_s"] / run["work_s"] for run in found if "limit_s" in run]
    return {
        "name": name,
        **({"share_of_limit": statistics.median(limits)} if limits else {}),
        "sentences_per_s": sentences / work,
        "sentences_per_s_with_start_up": sentences / whole,
        "start_up_s": whole - work,
        "sentences": sentences,
        "rss_mb": max(run["rss_mb"] for run in found),
    }


def compare_outputs(folder, rows):
    """Add to each row the largest difference from the first contender in fp32, in the last column of the output."""
    ran = [row for row in rows if (folder / f"{row['name']}.out").exists() and "error" not in row]
    reference = next((row["name"] for row in ran if "fp32" in row["name"]), None)
    if reference is None:
        return
    expected = last_column(folder / f"{reference}.out")
    for row in ran:
        found = last_column(folder / f"{row['name']}.out")
        row["compared_with"] = reference
        row["largest_difference"] = max(abs(a - b) for a, b in zip(found, expected, strict=True))


def last_column(path):
    """Return the numbers in the last column of a TSV file."""
    return [float(row[-1]) for row in rows_of(path)[1:]]


def speed_table(title, rows, ratios, whole):
    """Return the table of all contenders."""
    columns = (
        "sentences/s",
        "with start-up",
        "start-up s",
        "RSS MB",
        "x best peer",
        "with start-up",
        "of limit",
        "off by",
    )
    table = contest.table(title, "", *columns)
    for name, row in rows.items():
        if "error" in row:
            contest.add_failure(table, row)
            continue
        cells = [f"{row['sentences_per_s']:,.0f}", f"{row['sentences_per_s_with_start_up']:,.0f}"]
        cells += [f"{row['start_up_s']:.1f}", f"{row['rss_mb']:,.0f}"]
        for each, key in ((ratios, "sentences_per_s"), (whole, "sentences_per_s_with_start_up")):
            cells.append(contest.against_best(name, rows, each, lambda row, key=key: 1 / row[key]))
        cells.append(f"{row['share_of_limit']:.0%}" if "share_of_limit" in row else "")
        cells.append(f"{row['largest_difference']:.0e}" if "largest_difference" in row else "")
        table.add_row(name, *cells)
    return table


if __name__ == "__main__":
    main()
