"""mbert: one BERT encoder, fine-tuned for many sentence tasks."""

TYPE_CHECKING = False  # typing's own takes long to import
if TYPE_CHECKING:
    from mbert_cli.prediction.predictor import Predictor

    __version__: str

__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> object:
    # Imported on first use: the command's --help must not wait for torch, nor Ctrl-C for anything.
    if name == "__version__":
        from importlib.metadata import version

        return version("mbert-cli")
    if name == "Predictor":
        from mbert_cli.prediction.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
