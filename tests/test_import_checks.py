import sys

import import_checks
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

MODULE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
from jaxtyping import Float
from torch import Tensor
if TYPE_CHECKING:
    from pathlib import Path

def count(text: str) -> int:
    return len(text) if text else None

def add(x: Float[Tensor, "rows columns"], y: Float[Tensor, "rows columns"]) -> Float[Tensor, "columns"]:
    return (x + y).sum(0) if len(x) else x

def stretched(x: Float[Tensor, "rows columns"]) -> Float[Tensor, "..."]:
    return add(x.T, x.T)

def opened(path: Path, count: int) -> str:
    return path

@dataclass
class Pair:
    x: Float[Tensor, "rows"]
    y: Float[Tensor, "rows"]
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    (folder / "checked_module.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import_checks.install("checked_module")
        import checked_module
    yield checked_module
    del sys.modules["checked_module"]


def test_wrong_types_and_shapes_raise(module):
    square, wide = torch.ones(2, 2), torch.ones(2, 3)
    assert module.count("abc") == 3
    assert torch.equal(module.stretched(wide), torch.tensor([6.0, 6.0]))
    for function, values in [
        (module.count, [3]),
        (module.count, [""]),  # the result
        (module.add, [square, wide]),
        (module.add, [square.long(), square]),
        (module.add, [torch.ones(0, 3), torch.ones(0, 3)]),  # the result
        (module.opened, ["x", "y"]),
        (module.Pair, [torch.ones(2), torch.ones(3)]),
    ]:
        with pytest.raises((BeartypeCallHintViolation, TypeCheckError)):
            function(*values)
