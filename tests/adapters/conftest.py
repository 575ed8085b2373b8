import pytest
from plain_bert import SHAPE, PlainEncoder, stirred

from mbert_cli.encoder.packed_encoder import PackedEncoder


@pytest.fixture
def encoder() -> PackedEncoder:
    """An encoder in which every parameter affects the output."""
    return stirred(PackedEncoder(SHAPE).eval())


@pytest.fixture
def plain(encoder) -> list[PlainEncoder]:
    """Plain implementations of the same encoder, one per segment of the stream."""
    return [PlainEncoder(encoder) for _ in range(4)]
