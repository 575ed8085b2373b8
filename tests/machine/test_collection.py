import subprocess
import sys


def test_the_collector_pauses_once_per_process_and_never_searches_what_was_imported():
    code = """
import gc
from mbert_cli.machine.collection import collecting_later
try:
    with collecting_later():
        assert not gc.isenabled()
        raise OSError
except OSError:
    assert gc.isenabled() and not gc.get_freeze_count()
with collecting_later():
    import json
assert gc.isenabled()
kept = gc.get_freeze_count()
assert kept and not any(each is json.__dict__ for each in gc.get_objects())
with collecting_later():
    assert gc.isenabled()
assert gc.get_freeze_count() <= kept
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_end_of_a_command_searches_no_objects():
    code = """
import gc, sys
from mbert_cli.cli import main
sys.argv = ["mbert", "--version"]
try:
    main()
except SystemExit as end:
    assert not end.code
assert gc.get_freeze_count()
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
