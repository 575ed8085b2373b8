"""Read and write tensors in safetensors files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mbert_cli.errors import CheckpointError

_HEADER = 120  # approximate bytes per tensor in the header of a file: name, type, shape and offsets


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; create its folder if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return the approximate size of a safetensors file with these tensors, in bytes."""
    return sum(each.numel() * each.element_size() + _HEADER for each in tensors)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: the file is missing or incomplete.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is not a complete safetensors file ({error}); copy it again.") from None


def load_tensors(module: nn.Module, path: Path) -> None:
    """Load a safetensors file into a module. Names and shapes must be exactly those of the module.

    Raises:
        CheckpointError: the file is missing or incomplete, or has other names or shapes; the first five are listed.
    """
    tensors, expected = read_tensors(path), module.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is not known" for name in tensors if name not in expected]
    wrong += [
        f"{name} is {list(tensors[name].shape)}, expected {list(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(f"{path}: does not fit the model: {'; '.join(wrong[:5])}{more}.")
    module.load_state_dict(tensors)
