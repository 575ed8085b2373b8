"""Gradients of every adapter, pooling and head are those of finite differences."""

import torch
from components import built, every
from plain_bert import Stream, stirred

from mbert_cli.batch import Layout
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape

SHAPE = EncoderShape(
    vocab_size=5,
    hidden_size=4,
    num_layers=1,
    num_heads=2,
    intermediate_size=5,
    max_positions=3,
    type_vocab_size=1,
    layer_norm_eps=1e-3,
    dropout=0.0,
    attention_dropout=0.0,
)
LENGTHS = [1, 3, 2]


@every("adapters")
def test_gradients_of_an_adapter_at_all_its_sites(kind, options):
    encoder = stirred(PackedEncoder(SHAPE).double())
    adapter = stirred(built("adapters", kind, options, SHAPE).double(), 1)
    ids, positions = torch.tensor([1, 4, 2, 3, 0, 4]), torch.cat([torch.arange(length) for length in LENGTHS])
    packed = Stream(ids, torch.zeros_like(ids), positions, Layout(LENGTHS, [1, 2]))
    inputs = [encoder.word_embeddings.weight, *adapter.parameters()]
    apply = lambda *_: encoder(*packed, [[], [adapter]])  # noqa: E731
    assert torch.autograd.gradcheck(apply, inputs)


@every("pooling")
def test_gradients_of_a_pooling(kind, options):
    # All values differ by more than the step of the finite differences, so that the maximum of a sentence is unique.
    x = torch.randperm(12, generator=torch.Generator().manual_seed(0)).double().view(6, 2).sub(6).requires_grad_()
    pooling = stirred(built("pooling", kind, options).double())
    apply = lambda x, *_: pooling(x, Layout(LENGTHS))  # noqa: E731
    assert torch.autograd.gradcheck(apply, (x, *pooling.parameters()))


@every("heads")
def test_gradients_of_a_heads_loss(kind, options):
    torch.manual_seed(3)
    head = built("heads", kind, options, 3).double().eval()
    texts = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in head.sides]
    late = [torch.rand(4, dtype=torch.float64, requires_grad=True)] if head.late_interaction else []
    inputs = [*texts, *late]
    values = [0.0, 5.0, 2.5, 1.0] if head.goal == "regression" else [0.0, 1.0, 1.0, 0.0]
    labels = torch.tensor(values, dtype=torch.float64)
    if kind == "multi_label":
        labels = torch.stack([labels, 1 - labels, labels], 1)[:, : len(head.labels)]
    apply = lambda *given: head.loss(head(*given[: len(inputs)]), labels)  # noqa: E731
    assert torch.autograd.gradcheck(apply, (*inputs, *head.parameters()))
