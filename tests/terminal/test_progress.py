import io
import json
import logging
import re
from types import SimpleNamespace

import pytest
from rich.console import Console as RichConsole
from rich.text import Text

from mbert_cli.terminal import console
from mbert_cli.terminal.console import Console
from mbert_cli.terminal.tables import new_table

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def printed(width, use, **options):
    """Call a function with a console on a terminal; return the text that the terminal received."""
    terminal = RichConsole(
        file=io.StringIO(), force_terminal=True, width=width, soft_wrap=True, highlight=False, **options
    )
    console = Console()
    console.rich = terminal
    use(console)
    return terminal.file.getvalue()


def note():
    return "12,300 tokens/s · 18 min left · " + " · ".join(f"task_{i} 0.451" for i in range(9))


def long_training(console):
    with console.steps("epoch 2/7 paraphrase, encoder frozen", 1388) as bar:
        bar.advance(note, by=700)
        bar.advance(note, by=0)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_live_bar_is_never_wider_than_the_terminal_and_shows_speed_and_losses(width):
    shown = printed(width, long_training)
    lines = [line for line in MOVES.sub("\n", COLOURS.sub("", shown)).splitlines() if line.strip()]
    assert max(map(len, lines)) <= width
    assert any("epoch 2/7" in line and "700/1388" in line for line in lines)
    assert any("12,300 tokens/s · 18 min left" in line for line in lines)


def test_off_a_terminal_there_are_plain_lines_only(capsys):
    console = Console()
    long_training(console)
    with console.status("scoring"):
        console.info("epoch 1/2: overall 0.5 (best)", strong="(best)")
    console.show(new_table("task"), ["task: 20 rows"])
    found = capsys.readouterr()
    assert found.err == "epoch 1/2: overall 0.5 (best)\ntask: 20 rows\n"
    assert found.out == ""


def test_off_a_terminal_a_line_a_minute_shows_progress(monkeypatch, capsys):
    now = set_clock(monkeypatch)
    with Console().bar("predict sst", None) as bar:
        for seconds, by in ((59, 1000), (61, 500), (100, 500), (122, 3)):
            now[0] = seconds
            bar.advance(note, by)
    assert capsys.readouterr().err == f"predict sst: 1,500; {note()}\npredict sst: 2,003; {note()}\n"


def set_clock(monkeypatch):
    """Return the time of consoles, in a list of one number that a test changes."""
    now = [0.0]
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_off_a_terminal_many_short_steps_are_shown_as_well(monkeypatch, capsys):
    """A bar or a status of less than a minute prints a line if no other line was printed for a minute."""
    now = set_clock(monkeypatch)
    printer = Console()
    for phase in range(4):
        with printer.steps(f"phase {phase}", 10) as bar:
            now[0] += 25
            bar.advance()
    now[0] += 40
    with printer.status("scoring the dev files"):
        now[0] += 40
    printer.info("epoch 1/2")
    with printer.status("reading the data"):
        pass
    assert capsys.readouterr().err == "phase 2: 1 of 10\nscoring the dev files ...\nepoch 1/2\n"


def test_a_quiet_command_prints_no_progress(monkeypatch, capsys):
    monkeypatch.setattr(console, "_SECONDS_BETWEEN_LINES", 0.0)
    long_training(Console(quiet=True))
    assert capsys.readouterr().err == ""
    long_training(Console())
    assert capsys.readouterr().err.startswith("epoch 2/7 paraphrase, encoder frozen: 700 of 1,388; 12,300 tokens/s")


def test_the_best_epoch_is_highlighted_only_with_colours(monkeypatch):
    def print_best(console):
        console.info("overall 0.5 (best)", strong="(best)")

    assert "\x1b[1;32m(best)" in printed(80, print_best, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "32m" not in printed(80, print_best)


def test_messages_are_printed_without_markup_and_control_codes():
    assert printed(80, lambda console: console.info("[red]\x1b[2J[/red]", strong=""), no_color=True).startswith(
        "[red]\\x1b[2J"
    )


def test_a_terminal_gets_the_table():
    table = new_table("task")
    table.add_row(Text("mood"))
    assert "┃ task ┃" in COLOURS.sub("", printed(80, lambda console: console.show(table, ["a line"])))


def test_details_are_printed_if_verbose(capsys):
    Console().detail("more")
    Console(verbose=True).detail("more")
    assert capsys.readouterr().err == "more\n"


def test_log_messages_of_the_level_debug_are_details(capsys, monkeypatch):
    package, log = logging.getLogger("mbert_cli"), logging.getLogger("mbert_cli.some")
    for name in ("handlers", "level"):  # to restore them
        monkeypatch.setattr(package, name, getattr(package, name))
    for verbose in (False, True):
        Console(verbose=verbose).show_log()
        log.debug("a detail, verbose: %s", verbose)
        log.info("compiling, verbose: %s", verbose)
    lines = ["compiling, verbose: False", "a detail, verbose: True", "compiling, verbose: True"]
    assert capsys.readouterr().err.splitlines() == lines


def test_events_are_lines_of_json_on_stdout(capsys):
    Console().event("epoch", {"epoch": 1})
    Console(quiet=True, events=True).event("epoch", {"epoch": 1, "name": "a\nb"})
    found = capsys.readouterr()
    assert found.err == ""
    assert json.loads(found.out) == {"event": "epoch", "epoch": 1, "name": "a\nb"}
    assert found.out.count("\n") == 1
