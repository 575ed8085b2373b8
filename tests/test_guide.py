"""The guide: pages inside the package, and the command that prints them."""

import io
import re

import pytest
from components import numbers
from rich.console import Console
from rich.markdown import Markdown
from torch import tensor

from mbert_cli.cli import app
from mbert_cli.commands.guide import PAGES, show, topics
from mbert_cli.errors import UsageError
from mbert_cli.heads.classification import Classification
from mbert_cli.heads.cosine_similarity import CosineSimilarity
from mbert_cli.metrics import SCALAR_METRICS


def printed(capsys, *words):
    app(["guide", *words], standalone_mode=False)
    return capsys.readouterr().out


def test_without_a_topic_all_pages_are_listed_with_their_titles(capsys):
    lines = dict(line.split("\t") for line in printed(capsys).splitlines())
    assert list(lines) == topics()
    for topic, title in lines.items():
        assert (PAGES / f"{topic}.md").read_text().startswith(f"# {title}\n")


@pytest.mark.parametrize("topic", topics())
def test_without_a_terminal_a_page_is_printed_as_markdown(topic, capsys):
    assert printed(capsys, topic) == (PAGES / f"{topic}.md").read_text()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("topic", topics())
def test_on_a_terminal_a_page_is_rendered_within_its_width(topic, width):
    console = Console(file=io.StringIO(), width=width, no_color=True)
    show((PAGES / f"{topic}.md").read_text(), console)
    lines = console.file.getvalue().splitlines()
    assert 20 < max(map(len, lines)) <= min(width, 100)
    assert not any(line.startswith("## ") for line in lines), "a heading is rendered"


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("topic", topics())
def test_on_a_narrow_terminal_no_word_of_a_page_is_cut(topic, width):
    """Code blocks are wrapped anywhere: they have no spaces where a line could break."""
    text = re.sub(r"^```.*?^```", "", (PAGES / f"{topic}.md").read_text(encoding="utf-8"), flags=re.S | re.M)
    longest = width - len(" • ")
    assert {word for word in words(text, 1000) if len(word) <= longest} <= words(text, width)


def words(text, width):
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(Markdown(text))
    return set(console.file.getvalue().split())


def test_a_misspelt_topic_names_the_nearest():
    with pytest.raises(UsageError, match="there is no topic 'limit'; did you mean 'limits'"):
        app(["guide", "limit"], standalone_mode=False)


@pytest.mark.parametrize("topic", topics())
def test_links_lead_to_other_pages(topic):
    """Files outside this folder are not installed with mbert."""
    for target in re.findall(r"\]\(([^)#]+)", (PAGES / f"{topic}.md").read_text(encoding="utf-8")):
        assert target.removesuffix(".md") in topics(), target


def test_every_metric_that_is_one_number_is_explained():
    classes = Classification(4, num_classes=2).metrics(tensor([[1.0, 0.0], [0.0, 1.0]]), tensor([0.0, 1.0]))
    values = CosineSimilarity(4).metrics(tensor([0.1, 0.5, -0.2]), tensor([1.0, 3.0, 2.0]))
    assert {"ece", "dead_pairs"} <= numbers(classes) | numbers(values)
    section = (PAGES / "evaluation.md").read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    explained = set(re.findall("`([a-z0-9_]+)`", section))
    assert {*SCALAR_METRICS, *numbers(classes), *numbers(values)} <= explained
