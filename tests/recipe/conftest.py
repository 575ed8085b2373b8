from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a recipe file."""

    def write(text: str, name: str = "r.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write
