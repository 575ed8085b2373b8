import pytest
import torch
from components import ALL_TARGETS
from peft_bert import compare
from plain_bert import SHAPE, largest_difference, stirred, stream

from mbert_cli.adapters.lora import LoRA
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import OptionError

TARGETS = [[each] for each in ALL_TARGETS] + [["value", "query"], ALL_TARGETS]
every_target = pytest.mark.parametrize("targets", TARGETS, ids="+".join)
# Our target -> module in transformers.
MODULES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}


def alter(plain, lora, scale):
    """Change the matrices of a plain encoder to W + scale * B A."""
    for layer, products in zip(plain.layers, lora.layers, strict=True):
        for target, product in products.items():
            b, a = product.up.detach().double(), product.down.detach().double()
            getattr(layer, target).weight = getattr(layer, target).weight + scale * b @ a


@every_target
@pytest.mark.parametrize(("alpha", "scales"), [(None, (2, 2, 2)), (3.0, (3, 1.5, 1)), (0.5, (0.5, 0.25, 0.5 / 3))])
def test_packed_result_equals_an_encoder_of_other_matrices_sentence_by_sentence(encoder, plain, targets, alpha, scales):
    adapters = [stirred(LoRA(SHAPE, rank=rank, alpha=alpha, targets=targets), rank, std=0.3) for rank in (1, 2, 3)]
    for index, lora, scale in zip((0, 2, 3), adapters, scales, strict=True):
        alter(plain[index], lora, scale)
    one, two, three = ([lora] for lora in adapters)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


@every_target
def test_padded_peft_gives_the_same_hidden_states(tiny_checkpoint, targets):
    def copied(model, lora):
        for index, products in enumerate(lora.layers):
            for target, product in products.items():
                module = model.get_submodule(f"base_model.model.encoder.layer.{index}.{MODULES[target]}")
                module.lora_A["default"].weight.data = product.down.data
                module.lora_B["default"].weight.data = product.up.data
        assert sum(hasattr(module, "lora_A") for module in model.modules()) == len(lora.layers) * len(targets)

    options = {
        "r": 3,
        "lora_alpha": 5,
        "target_modules": r".*layer\.\d\.(" + "|".join(MODULES[each] for each in targets) + ")",
    }
    lora = lambda shape: stirred(LoRA(shape, rank=3, alpha=5.0, targets=targets), std=0.3)  # noqa: E731
    assert compare(tiny_checkpoint, "LoraConfig", options, lora, copied) <= 1e-5


def test_the_default_is_query_and_value_at_twice_the_rank():
    lora = LoRA(SHAPE, rank=4)
    assert {name for layer in lora.layers for name in layer} == {"query", "value"}
    assert {product.scale for layer in lora.layers for product in layer.values()} == {2.0}


def test_a_starts_with_berts_initial_values_and_b_at_zero():
    torch.manual_seed(0)
    product = LoRA(EncoderShape(num_layers=1), rank=204).layers[0]["query"]
    assert product.down.std().item() == pytest.approx(0.02, rel=0.01)
    assert not product.up.any()


@every_target
def test_features_are_dropped_in_training_only(encoder, targets):
    lora = stirred(LoRA(SHAPE, rank=2, targets=targets, dropout=0.5))
    adapters = [[lora], [], [lora], []]
    torch.manual_seed(0)
    assert not torch.equal(encoder(*stream(), adapters), encoder(*stream(), adapters))
    lora.eval()
    assert torch.equal(encoder(*stream(), adapters), encoder(*stream(), adapters))


def test_dropout_applies_to_the_input_of_a():
    lora = stirred(LoRA(SHAPE, rank=12, alpha=12.0, targets=["value"], dropout=0.25))
    product = lora.layers[0]["value"]
    product.down.data = torch.eye(12)
    product.up.data = torch.eye(12)
    torch.manual_seed(0)
    added = lora.after_linear(torch.zeros(400, 36), torch.ones(400, 12), "qkv", 0)
    assert not added[:, :24].any()
    values, counts = added[:, 24:].unique(return_counts=True)
    # Kept features are divided by the probability of keeping them.
    assert values.tolist() == pytest.approx([0, 4 / 3])
    assert counts[0].item() / 4800 == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 4800) ** 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 13}, r"^rank must be at most 12 \(the hidden size\), but is 13\.$"),
        ({"targets": ["key", "value", "key"]}, r"^targets must be distinct, but are key, value, key\.$"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        LoRA(SHAPE, **options)
