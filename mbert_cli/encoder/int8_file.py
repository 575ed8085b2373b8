"""A cache of an encoder's weights in int8, in the folder of the saved model, so that they are quantised only once.

The file has the name int8-SOURCE-OWN.safetensors, with 16 digits of each of two hashes. SOURCE is a hash of the
encoder's weights: it shows whether the file is current. OWN is the hash of the file: it shows damage. The file may be
removed at any time.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mbert_cli.storage.atomic import DERIVED, is_derived, put_in_place, sha256_of

_FORMAT = "1"  # part of the first hash: another format of the parts must change it
_log = logging.getLogger(__name__)


def read_parts(folder: Path, source: str) -> dict[str, Tensor] | None:
    """Return the int8 weights and scales of an encoder, mapped into memory; None if no file is current and undamaged.

    Args:
        folder: the folder of the saved model, or of a member of an ensemble.
        source: the SHA-256 of the encoder's weights.
    """
    for path in sorted(folder.glob(f"{_prefix(source)}*.safetensors")):
        with suppress(OSError, SafetensorError, ValueError):
            if path.name == _name(source, sha256_of(path)):
                with safe_open(path, framework="pt") as file:
                    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    return None


def keep_parts(folder: Path, source: str, parts: Mapping[str, Tensor]) -> None:
    """Write the file, and remove the files of other weights. If there is no space or no permission, log a message.

    Processes that write it at the same time write the same bytes under the same name.

    Args:
        folder: see `read_parts`.
        source: see `read_parts`.
        parts: the result of `quantisation.int8_parts`.
    """
    content = save({name: parts[name].contiguous() for name in sorted(parts)})
    path = folder / _name(source, hashlib.sha256(content).hexdigest())
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=path.name, dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(Path(temporary), path)
        for each in folder.glob(f"{DERIVED}*.safetensors*"):  # includes temporary files that a crash left
            # Keep temporary files of this name: another process may be writing one.
            if is_derived(each.name) and not each.name.startswith(path.name):
                each.unlink(missing_ok=True)
    except OSError as error:
        _log.info("%s cannot be written (%s); the weights are quantised again at each start", path, error.strerror)
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()


def _prefix(source: str) -> str:
    return f"{DERIVED}{hashlib.sha256(f'{_FORMAT} {source}'.encode()).hexdigest()[:16]}-"


def _name(source: str, own: str) -> str:
    return f"{_prefix(source)}{own[:16]}.safetensors"
