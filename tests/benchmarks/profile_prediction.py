"""Where the time of `mbert predict` goes on a CPU, without its start.

    python tests/benchmarks/profile_prediction.py RUN INPUT [OPTION...]

A stage does not contain the stages that run within it. With `--precision int8` and blocks of rows, a product is
computed together with what follows it: then the stages of attention, LayerNorm and activation contain products.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from start_up import Stages, medians, options_of, watch_imports

ALL = "prediction"
STAGES = {
    "mbert_cli.data.batching": {"pack": "packing", "tokenise_texts": "tokenising"},
    "mbert_cli.prediction.windows": {"_window": "reading rows"},
    "mbert_cli.data.table_writer": {"TableWriter.write": "writing rows"},
    "mbert_cli.prediction.predict_files": {"predict_files": ALL},
    "mbert_cli.model.multi_task_bert": {"MultiTaskBert.forward": "heads and Python between kernels"},
    "mbert_cli.encoder.kernels.fused": {
        "embed": "embeddings",
        "linear": "products",
        "attend": "attention",
        "add_norm": "LayerNorm and residual",
        "add_then_norm": "LayerNorm and residual",
        "activate": "activation",
        "add_dropout": "biases",
        "mean": "pooling",
    },
}
"""For functions of modules, the stage that a call of them is."""


def measure_here(words: list[str], result: Path) -> None:
    """Run a command in this process, and write the seconds of its stages."""
    stages = Stages(time.perf_counter)
    watch_imports(stages, STAGES)
    from mbert_cli.commands.app import app

    app(["predict", *words], standalone_mode=False)
    names = {name for functions in STAGES.values() for name in functions.values()}
    result.write_text(json.dumps({name: stages.seconds.get(name, 0.0) for name in names}), encoding="utf-8")


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        measure_here(sys.argv[3:], Path(sys.argv[2]))
        return
    options, others = options_of(__doc__, rounds=3)
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "stages.json")
        words = [options.run, options.input, "-o", str(Path(folder, "out.tsv")), "--force", *others]
        for _ in range(options.rounds):
            subprocess.run([sys.executable, __file__, "--child", str(result), *words], check=True, stdout=sys.stderr)
            rounds.append(json.loads(result.read_text(encoding="utf-8")))
    found = {name.replace(ALL, "everything else"): seconds for name, seconds in medians(rounds).items()}
    total = sum(found.values())
    if options.json:
        options.json.write_text(json.dumps({**found, "all": total}, indent=2) + "\n", encoding="utf-8")
    for name, seconds in found.items():
        print(f"{seconds:7.2f} s {seconds / total:6.1%}  {name}")
    print(f"{total:7.2f} s         all")


if __name__ == "__main__":
    main()
