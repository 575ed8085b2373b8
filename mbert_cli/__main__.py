"""`python -m mbert_cli` runs the command `mbert`."""

from mbert_cli.cli import main

main()
