"""Every family against transformers."""

import json
from dataclasses import replace

import pytest
import torch
from family_models import CASE_OF_FAMILY, CONFIGS, reads_types, reference_encoder

from mbert_cli.batch import Layout
from mbert_cli.encoder import families
from mbert_cli.encoder.checkpoint import load_encoder, read_shape, save_config, save_weights
from mbert_cli.encoder.families import Family, model_types
from mbert_cli.encoder.kernels import using
from mbert_cli.encoder.known_shapes import known_shape, similar_name
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.errors import CheckpointError

RAGGED = [1, 2, 30, 8, 9, 1, 17, 25, 3, 32]
"""Lengths of sentences; 1 token and the longest are among them."""


def sentences(case):
    """Return ids, types and positions of random sentences, each a list."""
    generator = torch.Generator().manual_seed(1)
    kinds = 2 if reads_types(case) else 1
    # Ids from 2: transformers computes no gradient for padding, which never occurs in a packed batch.
    ids = [torch.randint(2, 50, (length,), generator=generator) for length in RAGGED]
    return ids, [torch.randint(kinds, (length,), generator=generator) for length in RAGGED]


def packed(case):
    ids, types = sentences(case)
    return torch.cat(ids), torch.cat(types), torch.cat([torch.arange(n) for n in RAGGED]), Layout(RAGGED, [4, 0, 6])


def reference_states(model, case):
    """Run transformers on each sentence separately; return the hidden states of all sentences, one after another."""
    states = []
    for ids, types in zip(*sentences(case), strict=True):
        more = {"token_type_ids": types[None]} if reads_types(case) else {}
        states.append(model(input_ids=ids[None], **more).last_hidden_state[0])
    return torch.cat(states)


@pytest.fixture(params=CONFIGS)
def loaded(request, tmp_path):
    """A case, the encoder of transformers, and ours with the same weights."""
    model = reference_encoder(request.param)
    model.save_pretrained(tmp_path)
    encoder, absent = load_encoder(tmp_path, read_shape(tmp_path))
    assert absent == []
    return request.param, model, encoder.eval()


def test_every_family_has_a_case():
    assert set(CASE_OF_FAMILY) == set(model_types())


@pytest.mark.parametrize("kernels", ["torch", "fused"])
def test_hidden_states_equal_transformers(loaded, kernels):
    case, model, encoder = loaded
    with torch.no_grad(), using(kernels):
        ours, theirs = encoder(*packed(case)), reference_states(model, case)
    assert (ours - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("kernels", ["torch", "fused"])
def test_gradients_equal_transformers(loaded, tmp_path, kernels):
    case, model, encoder = loaded
    weights = torch.randn(sum(RAGGED), encoder.shape.hidden_size, generator=torch.Generator().manual_seed(2))
    with using(kernels):
        (encoder(*packed(case)) * weights).sum().backward()
    (reference_states(model, case) * weights).sum().backward()
    ours = gradients_by_checkpoint_name(encoder, tmp_path)
    theirs = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        # Biases of keys have no effect: their gradients are rounding errors.
        bound = 1e-5 if name.endswith((".key.bias", ".k.bias", ".k_lin.bias")) else 0.0
        difference = (ours[name] - gradient).abs().max().item()
        assert difference <= 1e-4 * gradient.abs().max().item() + bound, name


def test_a_bias_by_distance_stays_in_the_fused_kernels(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    reference_encoder("mpnet, wide heads").save_pretrained(tmp_path)
    encoder, _ = load_encoder(tmp_path, read_shape(tmp_path))
    monkeypatch.setattr("mbert_cli.encoder.kernels.plain.attend", lambda *_: pytest.fail("fell back to plain"))
    with using("fused"):
        encoder.eval()(*packed("mpnet, wide heads")).sum().backward()
    assert encoder.positions.bias.table.weight.grad.abs().max() > 0


def gradients_by_checkpoint_name(encoder, folder):
    """Return gradients by the names that the checkpoint gives the weights."""
    from safetensors.torch import load_file

    gradients = PackedEncoder(encoder.shape)
    known = dict(encoder.named_parameters())
    with torch.no_grad():
        for name, parameter in gradients.named_parameters():
            gradient = known[name].grad
            parameter.copy_(torch.zeros(()) if gradient is None else gradient.to_dense())
    folder = folder / "gradients"
    folder.mkdir()
    save_weights(gradients, folder)
    return {name: value for name, value in load_file(folder / "model.safetensors").items() if "pooler" not in name}


def test_a_saved_encoder_is_a_checkpoint_of_its_family_that_transformers_opens(loaded, tmp_path):
    from transformers import AutoModel

    case, model, encoder = loaded
    folder = tmp_path / "saved"
    folder.mkdir()
    save_config(encoder.shape, folder)
    save_weights(encoder, folder)
    assert read_shape(folder) == encoder.shape
    opened = AutoModel.from_pretrained(folder).eval()
    assert type(opened) is type(model)
    with torch.no_grad():
        assert torch.allclose(reference_states(opened, case), reference_states(model, case), atol=1e-5)


@pytest.mark.parametrize("family", CASE_OF_FAMILY)
def test_weights_of_a_checkpoint_with_a_head_are_found_below_the_prefix(tmp_path, family):
    from safetensors.torch import load_file, save_file

    reference_encoder(CASE_OF_FAMILY[family]).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    plain, _ = load_encoder(tmp_path, read_shape(tmp_path))
    prefix = families.family(family).prefix
    save_file({f"{prefix}{name}": value for name, value in weights.items()} | {"classifier.bias": torch.ones(2)}, file)
    prefixed, absent = load_encoder(tmp_path, read_shape(tmp_path))
    assert absent == []
    assert all(torch.equal(value, prefixed.state_dict()[name]) for name, value in plain.state_dict().items())


def test_a_layer_that_is_shared_has_one_set_of_weights(tmp_path):
    reference_encoder("albert").save_pretrained(tmp_path)
    shape = read_shape(tmp_path)
    assert (shape.num_layers, len(PackedEncoder(shape).layers)) == (3, 1)


@pytest.mark.parametrize(
    ("case", "key", "value", "only"),
    [
        ("bert", "position_embedding_type", "relative_key", "'absolute'"),
        ("roberta", "is_decoder", True, "False"),
        ("mpnet", "relative_attention_num_buckets", 8, "32"),
        ("albert", "num_hidden_groups", 2, "1"),
        ("albert", "inner_group_num", 2, "1"),
        ("deberta-v2", "conv_kernel_size", 3, "0"),
        ("deberta-v2", "share_att_key", False, "True"),
        ("deberta-v2", "relative_attention", False, "True"),
        ("deberta-v2", "norm_rel_ebd", "none", "'layer_norm'"),
        ("nomic_bert", "moe_every_n_layers", 2, "0"),
        ("nomic_bert", "use_rms_norm", True, "False"),
        ("nomic_bert", "activation_function", "gelu", "'swiglu'"),
        ("nomic_bert", "parallel_block", True, "False"),
        ("nomic_bert", "causal", True, "False"),
        ("nomic_bert", "prenorm", True, "False"),
        ("nomic_bert", "qkv_proj_bias", True, "False"),
        ("nomic_bert", "mlp_fc1_bias", True, "False"),
        ("nomic_bert", "mlp_fc2_bias", True, "False"),
        ("nomic_bert", "rotary_emb_fraction", 0.5, "1.0"),
        ("nomic_bert", "rotary_emb_interleaved", True, "False"),
    ],
)
def test_variants_that_are_not_built_are_refused_by_key_and_value(tmp_path, case, key, value, only):
    reference_encoder(case).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=rf"config.json: {key} is '?{value}'?, but only {only} is supported."):
        read_shape(tmp_path)


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("nomic_bert", {"rope_parameters": {"rope_type": "dynamic"}}, "rope_type is 'dynamic', but only 'default' is"),
        ("gte", {"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "rope_type is 'linear', but only"),
        ("modernbert", {"layer_types": ["full_attention"] * 2 + ["sliding_attention"] * 2}, "layer_types must be"),
        ("deberta-v2", {"embedding_size": 8}, "embedding_size is 8, but only the hidden size is supported"),
    ],
)
def test_other_variants_are_refused_by_key_and_value(tmp_path, case, changes, message):
    reference_encoder(case).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=f"config.json: {message}"):
        read_shape(tmp_path)


OLDER_CONFIGS = [
    (
        "modernbert",
        {"global_rope_theta": 777.0, "local_rope_theta": 55.0, "global_attn_every_n_layers": 2},
        ("rope_parameters", "layer_types"),
        {"rotary_theta": 777.0, "local_rotary_theta": 55.0, "global_every": 2},
    ),
    (
        "nomic_bert",
        {"n_embd": 48, "n_layer": 5, "n_head": 6, "n_inner": 70, "n_positions": 99, "rotary_emb_base": 88},
        ("rope_parameters", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
        {"hidden_size": 48, "num_layers": 5, "num_heads": 6, "intermediate_size": 70, "rotary_theta": 88.0},
    ),
    ("gte", {"rope_theta": 123.0}, ("rope_parameters",), {"rotary_theta": 123.0}),
    ("deberta-v2", {"pos_att_type": ["c2p", "p2c"]}, (), {"position_buckets": 6, "max_distance": 32}),
]


@pytest.mark.parametrize(("case", "older", "absent", "sizes"), OLDER_CONFIGS, ids=[each[0] for each in OLDER_CONFIGS])
def test_a_config_of_an_older_version_gives_the_same_sizes(tmp_path, case, older, absent, sizes):
    reference_encoder(case).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    content = {key: value for key, value in json.loads(path.read_text()).items() if key not in absent}
    path.write_text(json.dumps(content | older))
    shape = read_shape(tmp_path)
    assert {name: getattr(shape, name) for name in sizes} == sizes


@pytest.mark.parametrize("case", ["nomic_bert, wide heads", "gte, no types"])
@pytest.mark.parametrize("original", [True, False])
def test_weights_with_older_and_with_present_names_are_read(tmp_path, case, original):
    model = reference_encoder(case)
    model.save_pretrained(tmp_path, save_original_format=original)
    encoder, absent = load_encoder(tmp_path, read_shape(tmp_path))
    with torch.no_grad():
        assert absent == []
        assert (encoder.eval()(*packed(case)) - reference_states(model, case)).abs().max() <= 1e-5


@pytest.mark.parametrize("value", ["t5", 7, None])
def test_unknown_families_are_refused_with_the_known_ones(tmp_path, value):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": value}))
    with pytest.raises(CheckpointError, match=r"model_type is .*, which is not supported. Known: albert, bert, "):
        read_shape(tmp_path)


def test_a_family_is_one_file(tmp_path, monkeypatch):
    """A toy family: BERT whose layers are called blocks, with its sizes under other names."""
    (tmp_path / "toy_bert.py").write_text(
        "from dataclasses import replace\n"
        "from mbert_cli.encoder.families.bert import FAMILY as _BERT\n"
        "FAMILY = replace(\n"
        "    _BERT,\n"
        "    defaults=replace(_BERT.defaults, family='toy-bert'),\n"
        "    sizes={**_BERT.sizes, 'num_layers': 'blocks'},\n"
        "    layer='blocks.{}',\n"
        ")\n"
    )
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    families.model_types.cache_clear()
    toy = families.family("toy-bert")
    assert isinstance(toy, Family)
    shape = replace(toy.defaults, vocab_size=11, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16)
    encoder = PackedEncoder(shape)
    save_config(shape, tmp_path)
    save_weights(encoder, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["blocks"] == 2
    again, absent = load_encoder(tmp_path, read_shape(tmp_path))
    families.model_types.cache_clear()
    assert absent == []
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # As published, or counted by transformers; without heads, with the pooler where the family has one.
        ("google-bert/bert-base-uncased", 109_482_240),
        ("sentence-transformers/all-MiniLM-L6-v2", 22_713_216),
        ("BAAI/bge-small-en-v1.5", 33_360_000),
        ("intfloat/multilingual-e5-small", 117_653_760),
        ("FacebookAI/roberta-base", 124_645_632),
        ("FacebookAI/roberta-large", 355_359_744),
        ("xlm-roberta-base", 278_043_648),
        ("xlm-roberta-large", 559_890_432),
        ("distilroberta-base", 82_118_400),
        ("distilbert/distilbert-base-uncased", 66_362_880),
        ("distilbert-base-multilingual-cased", 134_734_080),
        ("google/electra-small-discriminator", 13_483_008),
        ("google/electra-base-discriminator", 108_891_648),
        ("google/electra-large-discriminator", 334_092_288),
        ("albert/albert-base-v2", 11_683_584),
        ("sentence-transformers/all-mpnet-base-v2", 109_486_464),
        ("microsoft/deberta-v3-xsmall", 70_682_112),
        ("microsoft/deberta-v3-small", 141_304_320),
        ("microsoft/deberta-v3-base", 183_831_552),
        ("microsoft/deberta-v3-large", 434_012_160),
        ("microsoft/mdeberta-v3-base", 278_218_752),
        ("answerdotai/ModernBERT-base", 149_014_272),
        ("answerdotai/ModernBERT-large", 394_781_696),
        ("nomic-ai/nomic-embed-text-v1.5", 136_731_648),
        ("alibaba-nlp-community/gte-multilingual-base", 305_368_320),
    ],
)
def test_sizes_of_well_known_encoders_give_their_number_of_parameters(name, parameters):
    shape = known_shape(name)
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in PackedEncoder(shape).parameters()) == parameters


def test_names_of_others_are_not_taken_for_well_known_ones():
    assert known_shape("somebody/roberta-base") is None
    assert known_shape("roberta-basic") is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("bert-base-uncase", "bert-base-uncased"),
        ("google-bert/bert-base-uncase", "google-bert/bert-base-uncased"),
        ("modernbert-base", "answerdotai/ModernBERT-base"),
        ("bge-m3", "BAAI/bge-m3"),
        ("gte-base", "thenlper/gte-base"),
        ("intfloat/e5-base-v2", None),
        ("somebody/roberta-base", None),
        ("zzz", None),
    ],
)
def test_the_full_name_of_a_similar_well_known_encoder_is_suggested(name, meant):
    assert similar_name(name) == meant
