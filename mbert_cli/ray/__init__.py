"""Prediction on Ray: the classes for pipelines of Ray Data, and the engine of `mbert predict --engine ray`.

    ds.map_batches(PredictBatch, fn_constructor_args=("runs/a", "sst"), batch_size=4096, concurrency=2)

`PredictBatch` and `EmbedBatch` do not import Ray themselves.
"""

from mbert_cli.ray.batches import EmbedBatch, PredictBatch

__all__ = ["EmbedBatch", "PredictBatch"]
