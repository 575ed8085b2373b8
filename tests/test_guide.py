"""The guide: pages that the package carries, and the command that shows them."""

import io
import re

import pytest
from rich.console import Console

from mbert_cli.cli import app
from mbert_cli.commands.guide import PAGES, show, topics
from mbert_cli.errors import UsageError


def printed(capsys, *words):
    app(["guide", *words], standalone_mode=False)
    return capsys.readouterr().out


def test_without_a_topic_all_pages_are_listed_with_their_titles(capsys):
    lines = dict(line.split("\t") for line in printed(capsys).splitlines())
    assert list(lines) == topics()
    for topic, title in lines.items():
        assert (PAGES / f"{topic}.md").read_text().startswith(f"# {title}\n")


@pytest.mark.parametrize("topic", topics())
def test_off_a_terminal_a_page_is_printed_as_it_is_written(topic, capsys):
    assert printed(capsys, topic) == (PAGES / f"{topic}.md").read_text()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("topic", topics())
def test_on_a_terminal_a_page_is_rendered_within_its_width(topic, width):
    console = Console(file=io.StringIO(), width=width, no_color=True)
    show((PAGES / f"{topic}.md").read_text(), console)
    lines = console.file.getvalue().splitlines()
    assert 20 < max(map(len, lines)) <= min(width, 100)
    assert not any(line.startswith("## ") for line in lines), "a heading is rendered"


def test_a_misspelt_topic_names_the_nearest():
    with pytest.raises(UsageError, match="there is no topic 'limit'; did you mean 'limits'"):
        app(["guide", "limit"], standalone_mode=False)


@pytest.mark.parametrize("topic", topics())
def test_links_between_pages_lead_somewhere(topic):
    for target in re.findall(r"\]\(([^)#]+)", (PAGES / f"{topic}.md").read_text()):
        assert target.startswith("https://") or (PAGES / target).exists(), target
