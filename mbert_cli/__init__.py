"""mbert: one BERT encoder, fine-tuned for many sentence tasks."""

TYPE_CHECKING = False  # typing.TYPE_CHECKING would need an import of typing, which is slow
if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor
    from mbert_cli.training.from_python import add_task, train

    __version__: str

__all__ = ["Predictor", "__version__", "add_task", "train"]


def __getattr__(name: str) -> object:
    # Imported on first use, so that --help does not import torch, and Ctrl-C is caught early.
    if name == "__version__":
        from importlib.metadata import version

        return version("mbert-cli")
    if name == "Predictor":
        from mbert_cli.prediction.predictor import Predictor

        return Predictor
    if name == "train":
        from mbert_cli.training.from_python import train

        return train
    if name == "add_task":
        from mbert_cli.training.from_python import add_task

        return add_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
