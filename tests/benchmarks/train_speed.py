"""Training speed: the step of mbert compared with other programs."""

import statistics
import tempfile
from pathlib import Path

import contest
from encoders import HELP, checkpoint_folder
from train_peers import PEERS
from workload import BATCH_SIZE, MAX_LENGTH, course_steps

OURS = ("full_bf16", "full_fp32", "full_bf16_plain", "houlsby_bf16", "top_bf16", "top_cached_bf16")
METHODS = ("full", "houlsby", "top", "top_cached", "low_rank", "pal", "lora")


def main():
    """Run the benchmark."""
    parser = contest.parser("Compare the training steps of mbert and of its peers.", rounds=3)
    parser.add_argument(
        "--ours", type=contest.words, default=",".join(OURS), help="METHOD_PRECISION or METHOD_PRECISION_plain; or none"
    )
    contest.add_peer_options(parser, ("hf_bf16_fused", "st_bf16", "houlsby_bf16", "lora_bf16"))
    parser.add_argument("--steps", type=contest.positive, default=12, help="timed steps of each contender in a round")
    parser.add_argument("--warm-up", type=contest.positive, default=4, help="steps before these, which are not timed")
    parser.add_argument("--batch-size", type=contest.positive, default=BATCH_SIZE, help="rows of each task in a step")
    parser.add_argument("--encoder", default="minilm", help=HELP)
    options = parser.parse_args()
    known = [
        f"{method}_{precision}" for method in METHODS for precision in ("fp32", "bf16", "fp32_plain", "bf16_plain")
    ]
    contest.check_names(options.ours, known, "--ours")
    contest.check_names(options.peers, PEERS, "--peers")
    ours, peers = options.ours, [PEERS[name] for name in options.peers]
    with tempfile.TemporaryDirectory() as folder:
        encoder = str(checkpoint_folder(options.encoder, Path(folder)))
        keys = ("steps", "warm_up", "batch_size", "device")
        work = {"encoder": encoder, **{key: getattr(options, key) for key in keys}}
        contenders = {name: contest.worker("ours.py", {"procedure": "train", "name": name, **work}) for name in ours}
        for name in options.peers:
            python = contest.peer_python(name, options.peer_python)
            contenders[PEERS[name]] = contest.worker("train_peers.py", {"name": name, **work}, python)
        expected = work_of(encoder, work)

        def problem_of(_, result):
            return contest.undone(result, expected)

        for results in contest.rounds_of(contenders, options.rounds, options.threads, problem_of):
            rows = {label: row_of(label, runs) for label, runs in results.items()}
            ratios = contest.ratios_of(results, ours, peers, lambda run: statistics.median(run["times"]))
            content = {"rows": list(rows.values()), "ratios": ratios, "settings": contest.facts(options)}
            contest.write_json(options.json, content)
    title = f"a step of {options.batch_size} rows of each task, {options.encoder}, {options.threads} threads"
    contest.show(steps_table(title, rows, ratios), contest.ratio_table(ratios))


def work_of(encoder, settings):
    """Return the numbers of sentences and tokens of all steps, by the encoder's tokenizer."""
    from transformers import AutoTokenizer

    rows, steps = course_steps(settings)
    texts = [text for step in steps for task in step for index in step[task] for text in rows[task][index][:-1]]
    ids = AutoTokenizer.from_pretrained(encoder)(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    return {"sentences": len(texts), "tokens": sum(map(len, ids))}


def row_of(label, runs):
    """Return the figures of a contender after some rounds."""
    found = contest.good(runs)
    if not found:
        return {"name": label, "error": runs[-1]["error"]}
    times = [1000 * each for run in found for each in run["times"]]
    median, tokens = statistics.median(times), statistics.fmean(run["tokens"] for run in found)
    row = {
        "name": label,
        "ms_per_step": median,
        "ms_min": min(times),
        "ms_max": max(times),
        "tokens": tokens,
        "tokens_per_s": tokens / median * 1000,
        "rss_mb": max(run["rss_mb"] for run in found),
    }
    if "gpu_mb" in found[0]:
        row["gpu_mb"] = max(run["gpu_mb"] for run in found)
    if "limit_times" in found[0]:
        row["limit_ms"] = 1000 * statistics.median(each for run in found for each in run["limit_times"])
        row["share_of_limit"] = row["limit_ms"] / median
    return row


def steps_table(title, rows, ratios):
    """Return the table of all contenders, mbert's first."""
    columns = ("ms/step", "min", "max", "tokens/s", "MB", "of least peer", "x best peer", "limit ms", "of limit")
    table = contest.table(title, "", *columns)
    for label, row in rows.items():
        if "error" in row:
            contest.add_failure(table, row)
            continue
        memory = "gpu_mb" if "gpu_mb" in row else "rss_mb"
        digits = 1 if "gpu_mb" in row else 0  # on a GPU a step takes a few milliseconds
        cells = [f"{row[key]:,.{digits}f}" for key in ("ms_per_step", "ms_min", "ms_max")]
        cells += [f"{row[key]:,.0f}" for key in ("tokens_per_s", memory)]
        rivals = contest.rivals_of(label, ratios)
        cells.append(f"{row[memory] / min(rows[peer][memory] for peer in rivals):.2f}" if rivals else "")
        cells.append(contest.against_best(label, rows, ratios, lambda each: each["ms_per_step"]))
        if "limit_ms" in row:
            cells += [f"{row['limit_ms']:,.0f}", f"{row['share_of_limit']:.0%}"]
        table.add_row(label, *cells)
    return table


if __name__ == "__main__":
    main()
