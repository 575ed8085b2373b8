"""`--engine ray`: computes the parts of the inputs with actors of Ray Data, and joins them.

Ray Data starts the actors, gives them parts, and restarts those that die. A part is the output of `--shard`. So a part
that is computed twice, or continued after a crash, has the same bytes, and the joined file has those of one process.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mbert_cli.errors import counted
from mbert_cli.prediction.divided_files import PartedFile, PartResult, divide
from mbert_cli.prediction.embed_file import EmbedOptions
from mbert_cli.prediction.finish_parts import finish_parts
from mbert_cli.prediction.predict_files import PredictOptions
from mbert_cli.ray.cluster import Workers, check_ray, connected, share_out
from mbert_cli.storage.local_copies import CACHE
from mbert_cli.terminal.console import Console


def compute(
    run: Path,
    files: Mapping[str, str],
    options: PredictOptions | EmbedOptions,
    model: Mapping[str, Any],
    address: str | None,
    workers: int | None,
    console: Console,
) -> None:
    """Predict or embed files with the actors of a Ray cluster. An input that cannot be read does not stop the others.

    All machines of the cluster need mbert, and the run folder, the inputs and the outputs at the same paths. Each
    machine copies inputs that are URLs.

    Args:
        run: the run folder.
        files: for each input its output.
        options: how inputs are read and outputs are written.
        model: options of `Predictor`.
        address: see `connected`.
        workers: number of actors; see `share_out`.
        console: prints progress, and afterwards what the user should know.

    Raises:
        MbertError: an input, an output or an option cannot be used. If inputs cannot be read, the message lists all.
    """
    check_ray()
    with connected(address):
        shares = share_out(workers, model["device"])
        divided = divide(files, shares.count)
        given = {**model, "device": "cuda" if shares.gpus else "cpu"}
        if model["encoder"] and Path(model["encoder"]).exists():
            given["encoder"] = str(Path(model["encoder"]).resolve())
        results: list[PartResult] = []
        total = sum(len(file.parts) for file in divided)
        with console.bar(f"{counted(total, 'part')} on {counted(shares.count, 'worker')}", total) as bar:
            for result in _results(run.resolve(), divided, options, given, shares):
                results.append(result)
                bar.advance()
    finish_parts(divided, results, console)


def _results(
    run: Path,
    files: Sequence[PartedFile],
    options: PredictOptions | EmbedOptions,
    model: Mapping[str, Any],
    workers: Workers,
) -> Iterator[PartResult]:
    """Yield the result of each part, as soon as it is computed."""
    import ray.data

    from mbert_cli.prediction.part_worker import ModelOptions
    from mbert_cli.ray.worker import PartActor

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    parts = [asdict(part) for file in files for part in file.parts]
    actor: Any = PartActor
    rows = ray.data.from_items(parts, override_num_blocks=len(parts)).map(
        actor,
        fn_constructor_args=(ModelOptions(str(run), model, workers.cpus, os.environ.get(CACHE)), options),
        concurrency=min(workers.count, len(parts)),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    for row in rows.iter_rows():
        yield PartResult(**json.loads(row["result"]))
