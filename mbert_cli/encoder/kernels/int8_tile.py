"""Chooses the module that computes tiles of int8 products on this processor.

- `dot_lanes`: with AVX512-VNNI.
- `pair_lanes`: with AVX2.

Both compute the same integers. `int8_block_loops` uses the chosen module. To support other instructions, write a module
with the same functions and constants, and add it to `MODULES`.
"""

from types import ModuleType

import torch

from mbert_cli.encoder.kernels import dot_lanes, pair_lanes

MODULES = (dot_lanes, pair_lanes)
"""The fastest instructions first."""


def _chosen() -> ModuleType | None:
    """Return the module for this processor; None if oneDNN has faster products (AMX), or no module supports it."""
    if torch.cpu._is_amx_tile_supported():
        return None
    return next((each for each in MODULES if each.is_supported()), None)


IS_SUPPORTED = _chosen() is not None
_module = _chosen() or MODULES[0]
PANEL, ROWS, BLOCK = _module.PANEL, _module.ROWS, _module.BLOCK
"""The columns and rows of a tile, and the rows of a block that is computed at once."""
PREPARED = _module.PREPARED
"""The data type of prepared rows."""
packed, multiply_tile = _module.packed, _module.multiply_tile
prepared_size, prepare_rows = _module.prepared_size, _module.prepare_rows
