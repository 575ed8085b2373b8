"""What lies where; CONTRIBUTING.md says why."""

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mbert_cli"


def test_the_root_holds_only_the_words_that_everybody_uses():
    words = {"batch", "calibration", "metrics", "randomness", "errors", "messages"}
    assert {module.stem for module in PACKAGE.glob("*.py")} == {"__init__", "__main__", "cli"} | words


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "mbert_cli", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mbert ")
