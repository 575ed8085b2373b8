"""Runs mbert commands one after another, and reports forbidden events.

    python -P audited.py COMMANDS REPORT FOLDER...

COMMANDS is a JSON file: a list of lists of words. The program writes a JSON list to REPORT: sockets, and code that was
executed from the FOLDERs.
"""

import json
import sys
from pathlib import Path

found: list[str] = []
folders: tuple[str, ...] = ()


def record(event: str, args: tuple[object, ...]) -> None:
    """Record an audit event that is forbidden."""
    if event.startswith("socket."):
        found.append(f"{event} {args!r}")
    if event == "exec":
        name = str(getattr(args[0], "co_filename", ""))
        if name.startswith(folders):
            found.append(f"exec {name}")
    if event == "import" and str(args[1] or "").startswith(folders):
        found.append(f"import {args[1]}")


def main() -> None:
    """Run the commands."""
    global folders
    commands, report, *rest = sys.argv[1:]
    folders = tuple(f"{folder}/" for folder in rest)
    sys.addaudithook(record)

    from mbert_cli.cli import main as mbert

    for words in json.loads(Path(commands).read_text()):
        sys.argv = ["mbert", *words]
        try:
            mbert()
        except SystemExit as end:
            if end.code:
                raise
    for module in list(sys.modules.values()):
        if str(getattr(module, "__file__", None)).startswith(folders):
            found.append(f"module {module.__name__}")
    Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
