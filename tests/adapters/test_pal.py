import pytest
import torch
from plain_bert import LENGTHS, SHAPE, attention, gelu, largest_difference, linear, stirred, stream, weights_of

from mbert_cli.adapters.pal import PAL
from mbert_cli.batch import Layout
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError


def alter(plain, pal, heads, after):
    """Change the layers of a plain encoder to BL(h) = LN(x + FFN(x) + TS(h)), TS(h) = after(V_D MH(V_E h))."""
    down, up = weights_of(pal.down), weights_of(pal.up)
    for layer, qkv in zip(plain.layers, pal.qkv, strict=True):
        joined = weights_of(qkv)

        def task_specific(fed, h, joined=joined):
            q, k, v = linear(linear(h, down), joined).chunk(3, -1)
            return fed + after(linear(attention(q, k, v, heads), up))

        layer.after_feed_forward = task_specific


@pytest.mark.parametrize(("activation", "after"), [("none", lambda x: x), ("gelu", gelu)])
@pytest.mark.parametrize(("rank", "heads"), [(6, 1), (6, 3), (12, 6), (5, 5)])
def test_packed_result_equals_the_papers_equation_sentence_by_sentence(encoder, plain, rank, heads, activation, after):
    pals = [stirred(PAL(SHAPE, rank=rank, heads=heads, post_activation=activation), seed) for seed in (1, 2, 3)]
    for reference, pal in zip((plain[0], plain[2], plain[3]), pals, strict=True):
        alter(reference, pal, heads, after)
    one, two, three = ([pal] for pal in pals)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


def test_no_token_attends_beyond_its_sentence():
    pal = stirred(PAL(SHAPE, rank=4, heads=2))
    h = torch.randn(sum(LENGTHS), 12, generator=torch.Generator().manual_seed(0))
    x, layout = torch.zeros_like(h), Layout(LENGTHS)
    before = pal.after_feed_forward(x, h, 1, layout).split(LENGTHS)
    changed = [part.clone() for part in h.split(LENGTHS)]
    changed[3][5] += 1
    after = pal.after_feed_forward(x, torch.cat(changed), 1, layout).split(LENGTHS)
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        assert (one != other).any(1).all() if index == 3 else torch.equal(one, other)


def test_layers_share_the_projections_and_nothing_else():
    pal = stirred(PAL(SHAPE, rank=4, heads=2))
    shapes = {name: tuple(parameter.shape) for name, parameter in pal.named_parameters()}
    projections = {"down.weight": (4, 12), "down.bias": (4,), "up.weight": (12, 4), "up.bias": (12,)}
    separate = {f"qkv.{i}.{name}": shape for i in range(3) for name, shape in (("weight", (12, 4)), ("bias", (12,)))}
    assert shapes == projections | separate
    h, layout = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)), Layout([5])
    outputs = [pal.after_feed_forward(torch.zeros(5, 12), h, layer, layout) for layer in range(3)]
    assert not torch.equal(outputs[0], outputs[1])
    with torch.no_grad():
        pal.up.weight.zero_()
    for layer in range(3):
        assert torch.equal(pal.after_feed_forward(torch.zeros(5, 12), h, layer, layout), pal.up.bias.expand(5, 12))


def test_attention_weights_are_dropped_in_training_only(encoder):
    shape = EncoderShape(hidden_size=12, num_layers=3, attention_dropout=0.5)
    pal = stirred(PAL(shape, rank=4, heads=2))
    adapters = [[pal], [], [pal], []]
    torch.manual_seed(0)
    assert not torch.equal(encoder(*stream(), adapters), encoder(*stream(), adapters))
    pal.eval()
    assert torch.equal(encoder(*stream(), adapters), encoder(*stream(), adapters))


def test_a_fresh_up_projection_is_zero_and_the_others_have_berts_initial_values():
    torch.manual_seed(0)
    pal = PAL(EncoderShape(num_layers=2))  # the paper's rank, 204
    assert not any(parameter.any() for parameter in (pal.up.weight, pal.up.bias, pal.down.bias))
    assert pal.down.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert pal.qkv[1].weight.std().item() == pytest.approx(0.02, rel=0.01)
    random = PAL(EncoderShape(num_layers=1), init_std=0.1)
    assert random.up.weight.std().item() == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    ("rank", "heads", "message"),
    [
        (13, 1, r"^rank must be at most 12 \(the hidden size\), but is 13\.$"),
        (4, 6, r"^rank must be a multiple of the attention heads \(6\), but is 4\.$"),
    ],
)
def test_a_rank_that_does_not_fit_is_refused(rank, heads, message):
    with pytest.raises(OptionError, match=message):
        PAL(SHAPE, rank=rank, heads=heads)


def test_the_papers_rank_fits_six_heads_and_twelve():
    with torch.device("meta"):
        assert [PAL(EncoderShape(), heads=heads).heads for heads in (6, 12)] == [6, 12]
