import pytest
from huggingface_hub import constants, errors

from mbert_cli.errors import DataError, UsageError
from mbert_cli.storage.hub import hub_errors


class Response:
    """The part of an HTTP response that the library's errors read."""

    headers: dict[str, str] = {}
    request = None

    def __init__(self, status):
        self.status_code = status


def refused(status, cls=errors.HfHubHTTPError):
    return cls("no\nway.", response=Response(status))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.HFValidationError("bad."), "is not a valid repository name (bad); write OWNER/NAME"),
        (errors.LocalTokenNotFoundError("x"), "needs a login to the Hub; run hf auth login, or set HF_TOKEN"),
        (
            refused(404, errors.RepositoryNotFoundError),
            "is not on the Hub, or you have no access (no way); correct the name, or run hf auth login",
        ),
        (
            refused(404, errors.RevisionNotFoundError),
            "is not on the Hub, or you have no access (no way); correct the name, or run hf auth login",
        ),
        (
            refused(401),
            "cannot be loaded from the Hub: it rejected the request (401 no way); run hf auth login, or set HF_TOKEN",
        ),
        (
            refused(403),
            "cannot be loaded from the Hub: it rejected the request (403 no way); use a token that has access",
        ),
        (refused(500), "cannot be loaded from the Hub: it rejected the request (500 no way); try again later"),
        (OSError("timed out"), "cannot be loaded from the Hub (timed out); check the name and the network"),
        (OSError(), "cannot be loaded from the Hub (OSError); check the name and the network"),
        (errors.HTTPError("x" * 200), f"cannot be loaded from the Hub ({'x' * 160}); check the name and the network"),
    ],
)
def test_errors_of_the_hub_are_one_line_errors(monkeypatch, error, expected):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(DataError) as found, hub_errors(DataError, "me/x:", instead=", or use a file"):
        raise error
    assert str(found.value) == f"me/x: {expected}, or use a file."


@pytest.mark.parametrize(
    ("upload", "expected"), [(False, "is not in the local hub cache"), (True, "cannot be uploaded")]
)
@pytest.mark.parametrize("error", [errors.OfflineModeIsEnabled("no"), errors.LocalEntryNotFoundError("no")])
def test_without_a_network_the_message_names_the_option(monkeypatch, upload, error, expected):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError) as found, hub_errors(UsageError, "me/x:", upload=upload):
        raise error
    assert str(found.value) == f"me/x: {expected}, and --offline (HF_HUB_OFFLINE) disables the network; remove it."


def test_other_errors_and_results_are_not_changed():
    with pytest.raises(ZeroDivisionError), hub_errors(DataError, "me/x:"):
        raise ZeroDivisionError
    with hub_errors(DataError, "me/x:"):
        result = 1
    assert result == 1
