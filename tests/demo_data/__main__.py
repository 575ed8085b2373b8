"""Write the demo's data: `python -m tests.demo_data`; with --check, only compare it with the shipped files."""

import argparse
import sys
from pathlib import Path

from . import make

FOLDER = Path(__file__).parents[2] / "recipes" / "demo"


def main() -> int:
    """Write or compare the files and return the exit status: 1 if a compared file differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo_data", description="Write the files in recipes/demo.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    check = parser.parse_args().check
    files = {FOLDER / name: text.encode() for name, text in make().items()}
    if check:
        differing = [path.name for path, text in files.items() if not path.is_file() or path.read_bytes() != text]
        for name in differing:
            print(f"recipes/demo/{name} differs from what tests/demo_data makes; run python -m tests.demo_data.")
        return 1 if differing else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_bytes(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
