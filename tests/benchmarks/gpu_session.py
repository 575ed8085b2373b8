"""All checks and measurements that need a GPU, in one command and in a few minutes.

    python tests/benchmarks/gpu_session.py --json gpu.json

It runs the tests that are marked `gpu`, then the training steps of mbert and of other programs in several sizes, then
prediction: of small batches with and without CUDA graphs, and of a file. It needs mbert, transformers and a GPU, but
neither data files nor a network: texts and weights are made up. With flash_attn, sentence_transformers and datasets,
more programs are compared. The JSON file is written after each part. A part that does not fit into the time is left
out, and named.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import contest
import gpu_figures
import made_up_course
from encoders import shape_of, write_random_encoder
from workload import MAX_LENGTH, course_steps

TOKENS = (2750, 8000, 16000, 32000)
"""Tokens of a step, about: that of the paper's batches of 32 rows a task, and larger ones."""
ENCODERS = ("minilm-random", "bert-base")
CONTENDERS = {
    "mbert": {"program": "mbert", "name": "full_bf16"},
    "mbert_kernels": {"program": "mbert", "name": "full_bf16", "graphs": False},
    "mbert_torch": {"program": "mbert", "name": "full_bf16_plain"},
    "hf_bf16_fused": {"program": "peer", "name": "hf_bf16_fused"},
    "hf_flash": {"program": "peer", "name": "hf_bf16_fused", "attention": "flash_attention_2"},
    "st_bf16": {"program": "peer", "name": "st_bf16"},
}
"""mbert with CUDA graphs, without them, and with PyTorch's kernels; transformers with SDPA and with FlashAttention's
packed sequences, both with the fused AdamW; and the trainer of sentence-transformers."""
SMALL = {"mbert": ("fused", True), "mbert_kernels": ("fused", False), "mbert_torch": ("torch", False)}
"""Kernels of mbert in the prediction of small batches, and whether it uses CUDA graphs."""
PREDICTING = {"hf_bf16": "transformers", "st_bf16": "sentence_transformers"}
"""The package of each contender in prediction."""
_NEEDS = {"hf_flash": "flash_attn", "st_bf16": "datasets"}  # its trainer reads them
_SENTENCES_OF_A_ROW = 5  # of all tasks: SST has one, Quora and STS have two
_ROWS = 4000  # of each made-up file
_PARTS = ("tests", "steps", "small", "prediction")
_TESTS = Path(__file__).parents[1]


def main():
    """Run all parts that fit into the time."""
    parser = contest.parser(__doc__.splitlines()[0], rounds=1)
    parser.set_defaults(device="cuda")
    parser.add_argument("--minutes", type=float, default=8, help="a part that would begin later is left out")
    parser.add_argument("--parts", type=contest.words, default=",".join(_PARTS), help=", ".join(_PARTS))
    parser.add_argument("--tokens", type=contest.words, default=",".join(map(str, TOKENS)), help="tokens of a step")
    parser.add_argument("--encoders", type=contest.words, default=",".join(ENCODERS))
    parser.add_argument("--contenders", type=contest.words, default=",".join(CONTENDERS))
    parser.add_argument("--steps", type=contest.positive, default=20, help="timed steps of each size")
    parser.add_argument("--warm-up", type=contest.positive, default=8, help="steps before these")
    parser.add_argument(
        "--distinct",
        type=contest.positive,
        default=4,
        help="number of different steps; mbert captures each of them at its second use",
    )
    parser.add_argument("--profiled", type=int, default=3, help="steps after these, in the profiler")
    parser.add_argument("--texts", type=contest.words, default="1,8,32,128", help="texts of a small batch")
    parser.add_argument("--pairs", type=contest.positive, default=4000, help="pairs of sentences to predict")
    parser.add_argument("--peak", type=float, help="dense peak of bf16 in TFLOP/s; default: that of a known GPU")
    options = parser.parse_args()
    contest.check_names(options.contenders, CONTENDERS, "--contenders")
    contest.check_names(options.encoders, ENCODERS, "--encoders")
    contest.check_names(options.parts, _PARTS, "--parts")
    session = Session(options)
    with tempfile.TemporaryDirectory() as folder:
        session.run(Path(folder))
    session.show()


class Session:
    """The parts of a session and their results.

    Args:
        options: the options of the command.
    """

    def __init__(self, options):
        self.options = options
        self.deadline = time.monotonic() + 60 * options.minutes
        self.results = {"settings": contest.facts(options), "left_out": [], "steps": [], "small": [], "seconds": {}}

    def run(self, folder):
        """Run all parts, and save the results after each.

        Args:
            folder: folder for made-up files.
        """
        made_up_course.write_course(folder, _ROWS)
        os.environ["MBERT_DATA"] = str(folder)
        encoders = {name: _encoder(name, folder) for name in self.options.encoders}
        parts = {"tests": [("tests", self._tests)], "steps": [], "small": []}
        for encoder, path in encoders.items():
            for name in self.options.contenders:
                parts["steps"].append((f"{encoder} {name}", lambda e=encoder, p=path, n=name: self._steps(e, p, n)))
            parts["small"].append((f"{encoder} small batches", lambda e=encoder, p=path: self._small(e, p)))
        parts["prediction"] = [("prediction", lambda: self._prediction(next(iter(encoders.values()))))]
        for part in self.options.parts:
            for name, work in parts[part]:
                self._run_part(name, work)

    def _run_part(self, name, work):
        started = time.monotonic()
        needed = _NEEDS.get(name.split()[-1])
        if needed is not None and importlib.util.find_spec(needed) is None:
            self.results["left_out"].append(f"{name}: {needed} is not installed")
        elif started > self.deadline:
            self.results["left_out"].append(f"{name}: no time was left")
        else:
            work()
            self.results["seconds"][name] = round(time.monotonic() - started, 1)
        contest.write_json(self.options.json, self.results)

    def _tests(self):
        """Run the tests that are marked `gpu`, in as many processes as the machine has cores, at most 14."""
        count = min(14, len(os.sched_getaffinity(0)))
        many = ["-n", str(count)] if importlib.util.find_spec("xdist") else []
        files = sorted(str(path) for path in _TESTS.rglob("test_*.py") if "mark.gpu" in path.read_text("utf-8"))
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *many, *files]
        self.results["tests"] = {"ended": self._output_of(command, _TESTS.parent)}

    def _output_of(self, command, folder):
        left = max(30.0, self.deadline - time.monotonic())
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=left)
        except subprocess.TimeoutExpired:
            return f"stopped after {left:.0f} s"
        return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-20:]

    def _steps(self, encoder, path, name):
        options = self.options
        sizes = {_rows_for(int(tokens)): int(tokens) for tokens in options.tokens}
        common = {"encoder": str(path), "device": options.device, "sizes": list(sizes), "profiled": options.profiled}
        common |= {"flowing": True, "distinct": options.distinct}
        settings = {**CONTENDERS[name], **common, "steps": options.steps, "warm_up": options.warm_up}
        command = contest.worker("gpu_steps.py", settings)
        ((found,),) = next(contest.rounds_of({name: command}, 1, options.threads, lambda *_: "")).values()
        for rows, tokens in sizes.items():
            result = found if "error" in found else found["sizes"][str(rows)]
            row = {"encoder": encoder, "contender": name, "tokens": tokens}
            if "error" in result:
                self.results["steps"].append(row | {"error": result["error"]})
                continue
            lengths = _lengths(rows, options)
            problem = contest.undone(result, {"sentences": sum(map(len, lengths)), "tokens": sum(map(sum, lengths))})
            timed = lengths[options.warm_up : options.warm_up + options.steps]
            flops = sum(gpu_figures.step_flops(shape_of(encoder), each) for each in timed) / len(timed)
            row |= {"error": problem} if problem else self._figures(result, flops)
            self.results["steps"].append(row)

    def _figures(self, result, flops):
        seconds = result["seconds_per_step"]
        figures = {"ms": 1000 * seconds, "steps_per_s": 1 / seconds, "tokens_per_s": result["tokens"] / seconds}
        peak = self.options.peak or gpu_figures.peak_tflops(self.results["settings"].get("gpu", ""))
        if peak is not None:
            figures["mfu"] = flops / seconds / (peak * 1e12)
        if "gpu_ms" in result:
            figures["busy"] = min(1.0, result["gpu_ms"] / figures["ms"])
        kept = ("kernels", "launches", "gpu_ms", "gpu_mb", "rss_mb")
        return figures | {key: result[key] for key in kept if key in result}

    def _small(self, encoder, path):
        """Predict small batches; the results with and without CUDA graphs have the same bits."""
        options = self.options
        settings = {"encoder": str(path), "device": options.device, "contenders": SMALL}
        settings |= {name: getattr(options, name) for name in ("steps", "warm_up", "profiled", "distinct")}
        settings["sizes"] = sizes = list(map(int, options.texts))
        command = contest.worker("gpu_small_batches.py", settings)
        ((found,),) = next(contest.rounds_of({encoder: command}, 1, options.threads, lambda *_: "")).values()
        for size in sizes:
            results = {name: found if "error" in found else found["contenders"][name][str(size)] for name in SMALL}
            self.results["small"] += small_rows(encoder, size, results)

    def _prediction(self, encoder):
        options = self.options
        peers = ",".join(each for each in PREDICTING if importlib.util.find_spec(PREDICTING[each]))
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            words = ("--tasks", "quora", "--pairs", options.pairs, "--ours", "bf16", "--peers", peers)
            words += ("--encoder", encoder, "--device", options.device, "--rounds", options.rounds)
            words += ("--threads", options.threads, "--json", file.name)
            script = Path(__file__).parent / "predict_speed.py"
            ended = self._output_of([sys.executable, str(script), *map(str, words)], None)
            content = Path(file.name).read_text("utf-8")
        self.results["prediction"] = json.loads(content) if content else {"error": ended}

    def show(self):
        """Print the tables, what was left out, and the targets."""
        results, columns = self.results, ("ms", "steps/s", "tokens/s", "MFU", "kernels", "launches", "busy", "MB")
        if "tests" in results:
            print(*results["tests"]["ended"][-1:])
        shown = contest.table("training steps", "", *columns)
        rows = {(row["encoder"], row["contender"], row["tokens"]): row for row in results["steps"]}
        for (encoder, contender, tokens), row in rows.items():
            name = f"{encoder} {tokens:,} {contender}"
            if "error" in row:
                contest.add_failure(shown, {"name": name, **row})
            else:
                shown.add_row(name, *_cells(row))
        small = contest.table("small batches", "", *SMALL_COLUMNS)
        for row in results["small"]:
            name = f"{row['encoder']} {row['texts']:,} {row['contender']}"
            if "error" in row:
                contest.add_failure(small, {"name": name, **row})
            else:
                small.add_row(name, *_small_cells(row))
        found = results.get("prediction", {}).get("rows", [])
        speeds = {row["name"]: row["sentences_per_s"] for row in found if "error" not in row}
        predicted = contest.table("prediction", "", "sentences/s")
        for name, speed in speeds.items():
            predicted.add_row(name, f"{speed:,.0f}")
        reached = contest.table("targets", "", "measured", "at least")
        for text, (measured, least) in gpu_figures.targets(rows, speeds).items():
            reached.add_row(text, f"{measured:.2f}", f"{least:g}")
        contest.show(shown, small, predicted, reached)
        for line in results["left_out"]:
            print(f"left out: {line}")


def _cells(row):
    counts = [f"{row[key]:,.0f}" if key in row else "" for key in ("kernels", "launches")]
    shares = [f"{row[key]:.0%}" if key in row else "" for key in ("mfu", "busy")]
    memory = row.get("gpu_mb", row["rss_mb"])
    speeds = [f"{row['ms']:.2f}", f"{row['steps_per_s']:,.1f}", f"{row['tokens_per_s']:,.0f}"]
    return [*speeds, shares[0], *counts, shares[1], f"{memory:,.0f}"]


SMALL_COLUMNS = ("ms", "sentences/s", "kernels", "launches", "bits of a graph")


def small_rows(encoder, texts, results):
    """Return the rows of a size of small batches.

    Args:
        encoder: name of the encoder.
        texts: number of texts of a batch.
        results: the result of each contender.
    """
    rows = [{"encoder": encoder, "texts": texts, "contender": name, **each} for name, each in results.items()]
    for row in rows:
        if "error" not in row:
            row["ms"] = 1000 * row["seconds_per_step"]
            row["same_bits"] = row["sha256"] == results["mbert"].get("sha256")
    return rows


def _small_cells(row):
    counts = [f"{row[key]:,.0f}" if key in row else "" for key in ("kernels", "launches")]
    same = row.get("problem") or ("the same" if row["same_bits"] else "others")
    return [f"{row['ms']:.2f}", f"{row['sentences_per_s']:,.0f}", *counts, same]


def _rows_for(tokens):
    """Return the number of rows of each task whose sentences have about so many tokens."""
    return max(1, round(tokens / _SENTENCES_OF_A_ROW / made_up_course.TOKENS_PER_SENTENCE))


def _lengths(rows, options):
    """Return for each step the numbers of tokens of its sentences, which are words of the made-up language."""
    names = "steps", "warm_up", "profiled", "distinct"
    counts = {"batch_size": rows, **{name: getattr(options, name) for name in names}}
    data, steps = course_steps(counts)
    texts = ((text for task in step for index in step[task] for text in data[task][index][:-1]) for step in steps)
    return [[min(len(text.split()) + 2, MAX_LENGTH) for text in each] for each in texts]


def _encoder(name, folder):
    """Write an encoder with random weights, and a tokenizer of the made-up language."""
    path, shape = folder / name, shape_of(name)
    path.mkdir()
    write_random_encoder(shape, path)
    made_up_course.write_tokenizer(path, shape.vocab_size)
    return path


if __name__ == "__main__":
    main()
