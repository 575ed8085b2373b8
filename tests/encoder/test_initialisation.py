import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from mbert_cli.encoder.initialisation import initialise, shapes_only, start_identity

TESTS = Path(__file__).parent.parent


def test_shapes_only_creates_no_values():
    with shapes_only():
        layer, table = nn.Linear(3, 4), nn.Embedding(5, 6)
        initialise(layer)
        start_identity(nn.Linear(3, 3))
    assert layer.weight.is_meta
    assert layer.weight.shape == (4, 3)
    assert table.weight.is_meta


def test_an_identity_returns_its_input():
    layer = nn.Linear(3, 3)
    start_identity(layer)
    x = torch.randn(2, 3)
    assert torch.equal(layer(x), x)


def test_checking_components_does_not_import_the_compiler():
    code = (
        "import sys\n"
        "from components import components\n"
        "from mbert_cli.model.components import problems\n"
        "from mbert_cli.recipe.sections import Component\n"
        "for family in ('adapters', 'pooling', 'heads'):\n"
        "    for kind, options in components(family):\n"
        "        problems(family, Component(kind=kind, options=options))\n"
        "assert 'torch._dynamo' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TESTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
