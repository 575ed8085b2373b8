"""Data sets of the Hugging Face Hub: `hub:OWNER/NAME/CONFIG#SPLIT`.

The Hub converts each data set to Parquet files, on a branch of its repository with a folder for each configuration and
split. mbert reads only these files; no code of a data set runs.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mbert_cli.errors import DataError
from mbert_cli.messages import nearest
from mbert_cli.storage.hub import hub_errors

PREFIX = "hub:"
_BRANCH = "refs/convert/parquet"
_SPEC = re.compile(r"hub:([\w.-]+/[\w.-]+)(?:/([\w.-]+))?#([\w.-]+)")
FORM = "hub:OWNER/NAME#SPLIT, or hub:OWNER/NAME/CONFIG#SPLIT"


def is_well_formed(name: str) -> bool:
    """Whether a name that begins with `hub:` matches `FORM`."""
    return _SPEC.fullmatch(name) is not None


def dataset_files(name: str) -> list[Path]:
    """Download the Parquet files of a split if necessary, and return them in order.

    Args:
        name: name of the split; see `FORM`. CONFIG may be left out if the data set has only one configuration.

    Raises:
        DataError: the data set, configuration or split does not exist, or the Hub cannot be reached.
    """
    match = _SPEC.fullmatch(name)
    if match is None:
        raise DataError(f"{name}: must have the form {FORM}.")
    repository, config, split = match.groups()
    root = _fetched(name, repository, f"{config or '*'}/{split}/*.parquet")
    files = sorted(root.glob(f"{config or '*'}/{split}/*.parquet"))
    configs = sorted({path.parent.parent.name for path in files})
    if len(configs) > 1:
        raise DataError(f"{name}: has several configurations; name one: {', '.join(configs)}.")
    if not files:
        raise DataError(f"{name}: {_what_is_missing(_listed(repository, root), config, split)}")
    return files


def _fetched(name: str, repository: str, pattern: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RevisionNotFoundError

    with hub_errors(DataError, f"{name}:"):
        try:
            files = snapshot_download(repository, repo_type="dataset", revision=_BRANCH, allow_patterns=pattern)
        except RevisionNotFoundError:
            raise DataError(
                f"{name}: the Hub has not converted {repository} to Parquet; download the data set, and name its files."
            ) from None
    return Path(files)


def _listed(repository: str, root: Path) -> list[str]:
    """Return the Parquet files of the repository; if the Hub does not answer, those on this machine."""
    from huggingface_hub import HfApi

    try:
        return list(HfApi().list_repo_files(repository, repo_type="dataset", revision=_BRANCH))
    except Exception:  # for example offline
        return [path.relative_to(root).as_posix() for path in root.rglob("*.parquet")]


def _what_is_missing(files: Sequence[str], config: str | None, split: str) -> str:
    parts = [file.split("/") for file in files if file.count("/") == 2]
    configs = sorted({each[0] for each in parts})
    if config is not None and config not in configs:
        return f"there is no configuration '{config}'{nearest(config, configs)}"
    splits = sorted({each[1] for each in parts if config in (None, each[0])})
    return f"there is no split '{split}'{nearest(split, splits)}"


def is_there(path: str) -> bool:
    """Whether a data file exists. For a name of the Hub: whether it is well-formed."""
    return is_well_formed(path) if path.startswith(PREFIX) else os.path.exists(path)
