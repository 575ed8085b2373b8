import pytest


@pytest.fixture
def write(tmp_path):
    """A function that writes a file and returns its path."""

    def write(content: str | bytes, name: str = "t.tsv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write
