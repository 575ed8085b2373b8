import pytest
from plain_bert import SHAPE, PlainEncoder, stirred

from mbert_cli.encoder.bert import BertEncoder


@pytest.fixture
def encoder() -> BertEncoder:
    """An encoder in which every parameter affects the output."""
    return stirred(BertEncoder(SHAPE).eval())


@pytest.fixture
def plain(encoder) -> list[PlainEncoder]:
    """Plain implementations of the same encoder, one per segment of the stream."""
    return [PlainEncoder(encoder) for _ in range(4)]
