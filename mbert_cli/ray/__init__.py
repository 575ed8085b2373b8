"""Ray: classes for pipelines of Ray Data, and `--engine ray` of `mbert predict`, `mbert embed` and `mbert sweep`.

    ds.map_batches(PredictBatch, fn_constructor_args=("/data/runs/a", "sst"), batch_size=4096, concurrency=2)

`PredictBatch` and `EmbedBatch` do not import Ray themselves.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mbert_cli.ray.batches import EmbedBatch, PredictBatch

__all__ = ["EmbedBatch", "PredictBatch"]


def __getattr__(name: str) -> object:
    # Imported on first use, because this loads torch, which most processes of a sweep do not need.
    if name in __all__:
        from mbert_cli.ray import batches

        value: object = getattr(batches, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
