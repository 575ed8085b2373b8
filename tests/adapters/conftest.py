import pytest
from plain_bert import SHAPE, PlainEncoder, stirred

from mbert_cli.encoder.bert import BertEncoder


@pytest.fixture
def encoder() -> BertEncoder:
    """An encoder whose every value matters."""
    return stirred(BertEncoder(SHAPE).eval())


@pytest.fixture
def plain(encoder) -> list[PlainEncoder]:
    """The same encoder, written out, one for each segment of the stream."""
    return [PlainEncoder(encoder) for _ in range(4)]
