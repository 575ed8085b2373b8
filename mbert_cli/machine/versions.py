"""Versions of installed packages."""

from importlib.metadata import PackageNotFoundError, version

# The packages whose version can change the bytes of a result.
_COMPUTING = ("mbert-cli", "torch", "numba")


def versions() -> dict[str, str]:
    """Return the versions of the packages whose version can change a result."""
    return {name: version_of(name) for name in _COMPUTING}


def version_of(package: str) -> str:
    """Return the version of a package, or `not installed`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
