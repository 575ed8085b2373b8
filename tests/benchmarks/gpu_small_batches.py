"""A worker of gpu_session.py: predictions of small batches in several sizes, one after another.

Each batch is one call, and the next one waits for its result, as in a server.
"""

import hashlib
import tempfile
from pathlib import Path

from ours import course_recipe, load, save_untrained
from watched_steps import WatchedSteps
from workload import read_rows, report, settings_of_worker

_TASK = "sst"


def main():
    """Time the batches of each contender and size. What fails has `error`; the others still run."""
    settings, results = settings_of_worker(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir()
        save_untrained(load(course_recipe(settings["encoder"]), folder), folder / "run")
        for contender, (kernels, graphs) in settings["contenders"].items():
            predictor = _predictor(folder / "run", settings["device"], kernels, graphs)
            results[contender] = {
                str(size): _tried(predictor, {**settings, "size": size}) for size in settings["sizes"]
            }
    report({"contenders": results})


def _predictor(run, device, kernels, graphs):
    from mbert_cli.prediction.predictor import Predictor

    predictor = Predictor(run, device=device, precision="bf16", kernels=kernels)
    if not graphs and predictor.outputs.graphs is not None:
        predictor.outputs.graphs.run_without_graphs()
    return predictor


def _tried(predictor, settings):
    try:
        return _predict(predictor, settings)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}


def _predict(predictor, settings):
    """Return the figures of a batch, and the SHA-256 of the results of all different batches."""
    size, distinct = settings["size"], settings["distinct"]
    texts = [row[0] for row in read_rows(_TASK, "train")]
    starts = [number * size % max(1, len(texts) - size) for number in range(distinct)]
    batches = [predictor.tokenise([texts[start : start + size]], _TASK) for start in starts]
    count = settings["warm_up"] + settings["steps"] + settings["profiled"]
    watched, found = WatchedSteps([batches[number % distinct] for number in range(count)], settings), {}
    for number, data in enumerate(watched):
        found[number % distinct] = predictor.outputs(_TASK, data, None)
    hashes = hashlib.sha256(b"".join(found[number].numpy().tobytes() for number in sorted(found)))
    figures = watched.figures()
    sentences = sum(len(data) for data in batches) / distinct / figures["seconds_per_step"]
    graphs = predictor.outputs.graphs
    problem = {} if graphs is None or graphs.problem is None else {"problem": graphs.problem}
    return {"sentences_per_s": sentences, "sha256": hashes.hexdigest(), **figures, **problem}


if __name__ == "__main__":
    main()
