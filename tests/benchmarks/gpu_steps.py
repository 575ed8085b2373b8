"""The worker of one contender of gpu_session.py: its training steps in several sizes, one after another."""

import gc
import os
import warnings

from workload import memory, report, settings_of_worker


def main():
    """Time the steps of each size. A size that fails has `error`; the others still run."""
    settings = settings_of_worker()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore")
    import torch

    results = {}
    for rows in settings["sizes"]:
        torch.manual_seed(0)
        if settings["device"] == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            found = _train({**settings, "batch_size": rows})
            results[str(rows)] = {**found, **memory(settings["device"])}
        except Exception as error:
            results[str(rows)] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        gc.collect()
        if settings["device"] == "cuda":
            torch.cuda.empty_cache()
    report({"sizes": results})


def _train(settings):
    name = settings["name"]
    if settings["program"] == "mbert":
        import ours

        return ours.train(settings)
    import train_peers

    return train_peers.sentence_transformers_trainer(settings) if name.startswith("st_") else train_peers.loop(settings)


if __name__ == "__main__":
    main()
