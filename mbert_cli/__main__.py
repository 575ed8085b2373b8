"""`python -m mbert_cli` is the command `mbert`."""

from mbert_cli.cli import main

main()
