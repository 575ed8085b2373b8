import pytest
import torch

from mbert_cli.errors import CheckpointError
from mbert_cli.model.tensor_files import load_tensors, write_tensors


def test_the_first_five_tensors_that_do_not_fit_are_listed(tmp_path):
    write_tensors(tmp_path / "x.safetensors", {f"t{i}": torch.zeros(1) for i in range(7)} | {"bias": torch.zeros(3)})
    with pytest.raises(CheckpointError) as error:
        load_tensors(torch.nn.Linear(2, 2), tmp_path / "x.safetensors")
    assert "weight is missing; t0 is not known" in str(error.value)
    assert "and 4 more" in str(error.value)
