import pytest
import torch
from transformers import BertConfig, BertModel

from mbert_cli.batch import Layout
from mbert_cli.encoder.checkpoint import load_encoder, read_shape
from mbert_cli.encoder.packed_encoder import PackedEncoder

RAGGED = [1, 2, 30, 8, 9, 1, 17, 25, 3]


def packed(lengths, vocab_size, seed=0, types=False):
    generator = torch.Generator().manual_seed(seed)
    # Not 0: transformers computes no gradient for [PAD], which never occurs in a packed batch.
    ids = [torch.randint(1, vocab_size, (n,), generator=generator) for n in lengths]
    kinds = [torch.randint(2 if types else 1, (n,), generator=generator) for n in lengths]
    return ids, kinds, torch.cat([torch.arange(n) for n in lengths])


def reference_states(model, ids, kinds):
    """Run transformers on each sentence separately."""
    with torch.no_grad():
        return [
            model(input_ids=i[None], token_type_ids=k[None]).last_hidden_state[0]
            for i, k in zip(ids, kinds, strict=True)
        ]


def largest_difference(ours, lengths, theirs):
    return max((a - b).abs().max().item() for a, b in zip(ours.split(lengths), theirs, strict=True))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize(("hidden", "heads", "layers"), [(12, 3, 1), (32, 4, 3), (8, 1, 2)])
def test_hidden_states_equal_transformers_on_random_encoders(tmp_path, activation, hidden, heads, layers):
    torch.manual_seed(hidden)
    config = BertConfig(
        vocab_size=50,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        intermediate_size=2 * hidden + 1,
        max_position_embeddings=32,
        hidden_act=activation,
        initializer_range=0.3,
    )
    model = BertModel(config).eval()
    model.save_pretrained(tmp_path)
    encoder, absent = load_encoder(tmp_path, read_shape(tmp_path))
    ids, kinds, positions = packed(RAGGED, 50, types=True)
    with torch.no_grad():
        ours = encoder.eval()(torch.cat(ids), torch.cat(kinds), positions, Layout(RAGGED, [4, 0, 5]))
    assert absent == []
    assert largest_difference(ours, RAGGED, reference_states(model, ids, kinds)) <= 1e-5


@pytest.mark.real_weights
def test_hidden_states_equal_transformers_on_minilm(minilm):
    lengths = [1, 2, 7, 8, 9, 64, 128, 512, 33]
    model = BertModel.from_pretrained(minilm).eval()
    encoder, _ = load_encoder(minilm, read_shape(minilm))
    ids, kinds, positions = packed(lengths, 30522)
    with torch.no_grad():
        ours = encoder.eval()(torch.cat(ids), torch.cat(kinds), positions, Layout(lengths))
    assert largest_difference(ours, lengths, reference_states(model, ids, kinds)) <= 1e-5


def test_packed_batch_gives_the_same_states_as_single_sentences(tiny_checkpoint):
    encoder, _ = load_encoder(tiny_checkpoint, read_shape(tiny_checkpoint))
    encoder.eval()
    ids, kinds, positions = packed(RAGGED, 30)
    with torch.no_grad():
        together = encoder(torch.cat(ids), torch.cat(kinds), positions, Layout(RAGGED))
        for one, i, k in zip(together.split(RAGGED), ids, kinds, strict=True):
            alone = encoder(i, k, torch.arange(len(i)), Layout([len(i)]))
            assert torch.allclose(one, alone, atol=1e-6)


def test_gradients_equal_transformers(tiny_checkpoint):
    theirs = BertModel.from_pretrained(tiny_checkpoint).eval()
    encoder, _ = load_encoder(tiny_checkpoint, read_shape(tiny_checkpoint))
    encoder.eval()
    ids, kinds, positions = packed(RAGGED, 30)
    weights = torch.randn(sum(RAGGED), 16, generator=torch.Generator().manual_seed(1))
    (encoder(torch.cat(ids), torch.cat(kinds), positions, Layout(RAGGED)) * weights).sum().backward()
    for i, k, w in zip(ids, kinds, weights.split(RAGGED), strict=True):
        (theirs(input_ids=i[None], token_type_ids=k[None]).last_hidden_state[0] * w).sum().backward()
    for ours, other in (
        (encoder.word_embeddings.weight, theirs.embeddings.word_embeddings.weight),
        (encoder.layers[0].intermediate.weight, theirs.encoder.layer[0].intermediate.dense.weight),
        (encoder.layers[1].attention.qkv.weight[16:32], theirs.encoder.layer[1].attention.self.key.weight),
    ):
        gradient = ours.grad if ours.is_leaf else encoder.layers[1].attention.qkv.weight.grad[16:32]
        assert torch.allclose(gradient, other.grad, rtol=1e-4, atol=1e-5)


def test_no_gradient_reaches_a_frozen_encoder(tiny_checkpoint):
    encoder, _ = load_encoder(tiny_checkpoint, read_shape(tiny_checkpoint))
    encoder.requires_grad_(False)
    ids, kinds, positions = packed(RAGGED, 30)
    assert not encoder(torch.cat(ids), torch.cat(kinds), positions, Layout(RAGGED)).requires_grad


def test_encoder_of_no_tokens_returns_no_states(tiny_checkpoint):
    shape = read_shape(tiny_checkpoint)
    nothing = torch.zeros(0, dtype=torch.long)
    assert PackedEncoder(shape)(nothing, nothing, nothing, Layout([])).shape == (0, shape.hidden_size)
