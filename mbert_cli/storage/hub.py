"""Errors of the Hugging Face Hub's library as messages for the user, for downloads and uploads."""

from collections.abc import Iterator
from contextlib import contextmanager

from mbert_cli.errors import MbertError, reason_of


@contextmanager
def hub_errors(raised: type[MbertError], place: str, *, upload: bool = False, instead: str = "") -> Iterator[None]:
    """Replace the errors of `huggingface_hub` in a block.

    Args:
        raised: the class of the new errors.
        place: the beginning of each message: what is loaded or uploaded.
        upload: the block uploads; otherwise it downloads.
        instead: another remedy, which ends each message.

    Raises:
        MbertError: an error of class `raised`: the name is invalid or unknown, access is denied, or the Hub cannot be
            reached.
    """
    from huggingface_hub import constants, errors

    http_error: type[Exception] = getattr(errors, "HTTPError", OSError)  # of the HTTP library that it uses
    done = "uploaded to" if upload else "loaded from"
    try:
        yield
    except errors.HFValidationError as error:
        problem = f"is not a valid repository name ({reason_of(error)}); write OWNER/NAME"
    except errors.LocalTokenNotFoundError:
        problem = "needs a login to the Hub; run hf auth login, or set HF_TOKEN"
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        problem = (
            f"is not on the Hub, or you have no access ({reason_of(error)}); correct the name, or run hf auth login"
        )
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        login = "run hf auth login, or set HF_TOKEN"
        remedy = {401: login, 403: "use a token that has access"}.get(code, "try again later")
        problem = f"cannot be {done} the Hub: it rejected the request ({code} {reason_of(error)}); {remedy}"
    except (OSError, http_error) as error:
        if constants.HF_HUB_OFFLINE:
            reason = "cannot be uploaded" if upload else "is not in the local hub cache"
            problem = f"{reason}, and --offline (HF_HUB_OFFLINE) disables the network; remove it"
        else:
            problem = f"cannot be {done} the Hub ({reason_of(error)}); check the name and the network"
    else:
        return
    raise raised(f"{place} {problem}{instead}.")
