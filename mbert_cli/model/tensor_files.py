"""Tensors in safetensors files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mbert_cli.errors import CheckpointError

_HEADER = 120  # bytes of a tensor in a file's header: its name, type, shape and place


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return about how many bytes a safetensors file of these tensors has: their values, and a line for each."""
    return sum(each.numel() * each.element_size() + _HEADER for each in tensors)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: it is missing or not whole.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is not a whole safetensors file ({error}).") from None


def load_tensors(module: nn.Module, path: Path) -> None:
    """Load a safetensors file into a module that it must fit exactly.

    Raises:
        CheckpointError: it is missing or not whole, or holds other names or shapes (the first five).
    """
    found, wanted = read_tensors(path), module.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is not known" for name in found if name not in wanted]
    wrong += [
        f"{name} is {list(found[name].shape)}, expected {list(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(f"{path}: does not fit the model: {'; '.join(wrong[:5])}{more}.")
    module.load_state_dict(found)
