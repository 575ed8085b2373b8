"""The tables of the guide's page `encoders` state what the families are."""

import re
from pathlib import Path

import pytest
import torch

import mbert_cli
from mbert_cli.encoder.families import family, model_types
from mbert_cli.encoder.known_shapes import known_shape
from mbert_cli.encoder.packed_encoder import PackedEncoder

PAGE = (Path(mbert_cli.__file__).parent / "guide" / "encoders.md").read_text(encoding="utf-8")


def rows_of(heading):
    """Return the cells of each row of the table below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


FAMILIES = {row[0]: row for row in rows_of("Families")}
CHECKPOINTS = {row[0]: row for row in rows_of("Which one to choose")}
SHAPES = {
    # Of the defaults of these families, the positions or the token types are not those of the usual checkpoints.
    "roberta": "roberta-base",
    "xlm-roberta": "xlm-roberta-base",
    "camembert": "camembert-base",
    "mpnet": "mpnet-base",
}


def test_every_family_has_a_row():
    assert set(FAMILIES) == set(model_types())


@pytest.mark.parametrize("name", model_types())
def test_the_row_of_a_family_is_correct(name):
    shape = known_shape(SHAPES[name]) if name in SHAPES else family(name).defaults
    _, types, pooler, longest = FAMILIES[name]
    expected_types = str(shape.type_vocab_size) if shape.type_vocab_size > 1 else "none"
    assert (types, pooler, longest) == (expected_types, "yes" if shape.has_pooler else "no", str(shape.max_positions))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_row_of_a_checkpoint_is_correct(name):
    shape = known_shape(name)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in PackedEncoder(shape).parameters())
    assert CHECKPOINTS[name][1] == f"{parameters / 1e6:.0f}M"


def test_every_recommended_checkpoint_has_a_row_and_its_owner():
    names = re.findall(r"`([\w-]+)/([\w.-]+)`", PAGE.partition("## Which one to choose")[2].partition("\n|")[0])
    assert {name for _, name in names} == set(CHECKPOINTS)
    assert all(known_shape(f"{owner}/{name}") is not None for owner, name in names)
