"""mbert: one BERT encoder, fine-tuned for many sentence tasks."""

from typing import Any

__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command's --help must not wait for torch, nor Ctrl-C for anything.
    if name == "__version__":
        from importlib.metadata import version

        return version("mbert-cli")
    if name == "Predictor":
        from mbert_cli.prediction import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
