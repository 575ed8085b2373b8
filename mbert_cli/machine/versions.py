"""Versions, and all else that `mbert info` tells."""

from importlib.metadata import PackageNotFoundError, version

# Those that the bytes of a result follow from.
_COMPUTING = ("mbert-cli", "torch", "numba")


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute."""
    return {name: _version(name) for name in _COMPUTING}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
