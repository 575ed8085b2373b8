"""One procedure: push; a saved model to the Hugging Face Hub."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from mbert_cli.encoder.location import has_weights, own_encoder, referred, weight_files
from mbert_cli.errors import UsageError
from mbert_cli.storage.atomic import MANIFEST, commit_folder, read_json
from mbert_cli.storage.run_folder import RunFolder

_CONFIG = "config.json"
_PATHS = ("train", "dev", "test")


def push_model(
    run: Path,
    name: str,
    private: bool,
    revision: str | None,
    dry_run: bool = False,
    encoder: str | None = None,
) -> tuple[str, list[str]]:
    """Upload a run's best model; nothing else of the run, and of its data's paths their last part only.

    Args:
        run: a run folder, or the folder of a saved model.
        name: of the repository, `OWNER/NAME`; it is made where there is none.
        private: whether a new repository is private.
        revision: the branch; by default the main one.
        dry_run: upload nothing.
        encoder: where the encoder is now that the model refers to; it goes with the model if it lies in a folder, which
            nobody else has.

    Returns:
        The repository's address, and the names of the files.

    Raises:
        CheckpointError: there is no model.
        UsageError: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    folder = RunFolder(run).model_folder()
    own = any(has_weights(each / "encoder") for each in (folder, folder / "members" / "1"))
    if own and encoder is not None:
        raise UsageError(own_encoder(run))
    with tempfile.TemporaryDirectory() as at:
        staged = Path(at) / "model"
        commit_folder(staged, lambda new: _copy(folder, new, own, encoder))
        files = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
        api = HfApi()
        with _refusals(name):
            if not dry_run:
                api.create_repo(name, private=private, exist_ok=True)
                api.upload_folder(repo_id=name, folder_path=staged, revision=revision, commit_message="Model by mbert")
        return f"{api.endpoint}/{name}", files


def _copy(folder: Path, new: Path, own: bool, encoder: str | None) -> None:
    """Copy a model so that others can use it: without paths of this machine, and with an encoder of a folder of it."""
    shutil.copytree(folder, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
    config = read_json(folder / _CONFIG)
    for task in config["tasks"].values():
        for split in _PATHS:
            if task.get(split):
                task[split] = PurePath(task[split]).name
    checkpoint = config["encoder"]["checkpoint"]
    if PurePath(checkpoint).is_absolute():
        for file in () if own else weight_files(referred(folder, config, instead=encoder).folder, with_index=True):
            shutil.copy(file, new / "encoder" / file.name)
        config["encoder"]["checkpoint"] = PurePath(checkpoint).name
        config.pop("encoder_path", None)
    (new / _CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what the Hub's library raises into errors that a user can mend."""
    from huggingface_hub import errors

    # Of the library that it speaks HTTP with, whichever that is.
    no_answer: type[Exception] = getattr(errors, "HTTPError", OSError)
    try:
        yield
    except errors.HFValidationError as error:
        raise UsageError(f"{name}: is no name of a repository ({_first_sentence(error)}); write OWNER/NAME.") from None
    except errors.LocalTokenNotFoundError:
        raise UsageError(f"{name}: the Hub must know who you are; run hf auth login, or set HF_TOKEN.") from None
    except errors.OfflineModeIsEnabled:
        raise UsageError(f"{name}: cannot be reached offline; leave out --offline, and unset HF_HUB_OFFLINE.") from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        hint = "run hf auth login, or set HF_TOKEN" if code == 401 else "use a token that may write there"
        hint = hint if code in (401, 403) else "try again later"
        raise UsageError(f"{name}: the Hub refuses ({code} {_first_sentence(error)}); {hint}.") from None
    except (OSError, no_answer) as error:
        raise UsageError(f"{name}: the Hub cannot be reached ({_first_sentence(error)}); check the network.") from None


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:160].rstrip(".")
