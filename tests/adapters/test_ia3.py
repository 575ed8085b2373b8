from peft_bert import compare
from plain_bert import SHAPE, Affine, largest_difference, stirred

from mbert_cli.adapters.ia3 import IA3
from mbert_cli.adapters.lora import LoRA

# The three places of the paper. The default of peft for BERT also has the output of the attention sublayer.
PLACES = {"key": "attention.self.key", "value": "attention.self.value", "inner": "output.dense"}


def alter(plain, ia3):
    """Change a plain encoder to l_k * K, l_v * V and l_ff * gelu(W_1 x)."""
    for index, layer in enumerate(plain.layers):
        for name, vectors in (("key", ia3.key), ("value", ia3.value)):
            vector, values = vectors[index].detach().double(), getattr(layer, name)
            setattr(layer, name, Affine(vector[:, None] * values.weight, vector * values.bias))
        layer.inner_scale = ia3.inner[index].detach().double()


def test_packed_result_equals_the_papers_equations_sentence_by_sentence(encoder, plain):
    adapters = [stirred(IA3(SHAPE), seed, std=1.0) for seed in (1, 2, 3)]
    for index, ia3 in zip((0, 2, 3), adapters, strict=True):
        alter(plain[index], ia3)
    one, two, three = ([ia3] for ia3 in adapters)
    assert largest_difference(encoder, [one, [], two, three], plain) <= 1e-5


def test_lora_and_ia3_act_in_the_order_of_the_recipe(encoder, plain):
    lora, ia3 = stirred(LoRA(SHAPE, rank=2, alpha=2.0, targets=["key", "output"]), 1, std=0.3), stirred(IA3(SHAPE), 2)
    alter(plain[0], ia3)
    alter(plain[2], ia3)
    for index, products in enumerate(lora.layers):
        vector = ia3.key[index].detach().double()
        key, output = (products[name].up.double() @ products[name].down.double() for name in ("key", "output"))
        first, last = plain[0].layers[index], plain[2].layers[index]
        first.key.weight = first.key.weight + vector[:, None] * key.detach()  # l_k * (W + B A) x
        last.key.weight = last.key.weight + key.detach()  # (l_k * W + B A) x
        for layer in (first, last):  # (W + B A) (l_ff * x)
            layer.output.weight = layer.output.weight + output.detach()
    assert largest_difference(encoder, [[lora, ia3], [], [ia3, lora], []], plain) <= 1e-5


def test_padded_peft_gives_the_same_hidden_states(tiny_checkpoint):
    def copied(model, ia3):
        for index in range(2):
            for name, place in PLACES.items():
                module = model.get_submodule(f"base_model.model.encoder.layer.{index}.{place}")
                module.ia3_l["default"].data = getattr(ia3, name)[index].data.view_as(module.ia3_l["default"])
        assert sum(hasattr(module, "ia3_l") for module in model.modules()) == 2 * 3

    in_layer = r".*layer\.\d\.({})"
    options = {
        "target_modules": in_layer.format("|".join(PLACES.values())),
        "feedforward_modules": in_layer.format(PLACES["inner"]),
    }
    assert compare(tiny_checkpoint, "IA3Config", options, lambda shape: stirred(IA3(shape), std=1.0), copied) <= 1e-5


def test_it_starts_at_one():
    assert all((parameter == 1).all() for parameter in IA3(SHAPE).parameters())
