"""`mbert export --format peft`: peft computes the states of mbert, and mbert reads adapters of peft."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from family_models import CASE_OF_FAMILY, reference_encoder
from random_models import random_model, vectors_of
from safetensors.torch import load_file
from tokenizer_kinds import byte_pairs, word_pieces
from word_salad import sentences

from mbert_cli.encoder.checkpoint import read_shape
from mbert_cli.errors import UsageError
from mbert_cli.export.not_expressible import NotExpressibleError
from mbert_cli.export.peft import export_peft
from mbert_cli.export.peft_adapters import from_peft
from mbert_cli.model.components import build
from mbert_cli.recipe.sections import Component

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

CLASSES = {"kind": "classification", "labels": ["low", "mid", "high"]}
EVERY_TARGET = ["query", "key", "value", "attention_output", "intermediate", "output"]
LORA = {"kind": "lora", "rank": 3, "alpha": 5.0, "targets": EVERY_TARGET, "dropout": 0.25}
IA3 = {"kind": "ia3"}
PREFIX = {"kind": "prefix", "length": 3, "gate": "none"}
TEXTS = [*sentences(6, 5), "a"]


def checkpoint_of(family, folder):
    checkpoint = folder / "checkpoint"
    reference_encoder(CASE_OF_FAMILY[family], vocab_size=300).save_pretrained(checkpoint)
    (word_pieces if family in ("bert", "nomic_bert", "albert") else byte_pairs)(checkpoint)
    return checkpoint


def exported(saved, folder, base):
    folder.mkdir()
    export_peft(saved, "mood", folder, str(base), "0" * 64)
    return folder


def vectors_of_peft(folder, base):
    """Return the states of the first token, computed by the code of the card."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = code.replace("FOLDER", str(folder)).replace("ENCODER", str(base)).replace('"A sentence."', "TEXT")
    vectors = []
    for text in TEXTS:
        names = {"TEXT": text}
        exec(code, names)
        vectors.append(names["states"][0, 0].detach())
    return torch.stack(vectors)


@pytest.mark.parametrize(
    ("family", "adapter"),
    [("bert", LORA), ("nomic_bert", LORA), ("bert", IA3), ("modernbert", {**LORA, "targets": ["output"]}),
     ("bert", PREFIX), ("roberta", PREFIX)],
)  # fmt: skip
def test_peft_gives_the_states_of_the_task_and_mbert_reads_the_same_values(family, adapter, tmp_path):
    base = checkpoint_of(family, tmp_path)
    saved = random_model(tmp_path, base, CLASSES, [adapter])
    folder = exported(saved, tmp_path / "out", base)
    ours, theirs = vectors_of(saved, TEXTS), vectors_of_peft(folder, base)
    assert ours.std(0).min() > 1e-3
    assert (ours - theirs).abs().max() <= 1e-5
    own = read(folder, base)
    state = saved.model.task("mood").adapter_list()[0].state_dict()
    assert own.ignored == []
    assert own.state.keys() == state.keys()
    assert all(torch.equal(own.state[name], value) for name, value in state.items())
    assert build("adapters", component(own.spec), read_shape(base)).state_dict().keys() == state.keys()
    assert {**own.spec, **adapter} == own.spec


def component(spec):
    return Component(kind=spec["kind"], options={key: value for key, value in spec.items() if key != "kind"})


def read(folder, base):
    config = json.loads((folder / "adapter_config.json").read_text())
    return from_peft(config, load_file(folder / "adapter_model.safetensors"), read_shape(Path(base)))


def written_by_peft(folder, base, options, kind="LoraConfig", task_type="FEATURE_EXTRACTION"):
    """Write an adapter with peft; return its folder."""
    from transformers import AutoModel, AutoModelForSequenceClassification

    opened = (AutoModelForSequenceClassification if task_type == "SEQ_CLS" else AutoModel).from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = peft.get_peft_model(opened, getattr(peft, kind)(task_type=task_type, **options))
    model.save_pretrained(folder)
    return folder


def test_an_adapter_of_a_classifier_is_read_without_its_head(tiny_checkpoint, tmp_path):
    options = {"r": 2, "target_modules": ["query", "value"], "init_lora_weights": False}
    own = read(written_by_peft(tmp_path / "theirs", tiny_checkpoint, options, task_type="SEQ_CLS"), tiny_checkpoint)
    assert own.spec == {"kind": "lora", "rank": 2, "alpha": 8.0, "targets": ["query", "value"], "dropout": 0.0}
    assert own.ignored == ["classifier.bias", "classifier.weight"]
    tensors = load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    name = "base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight"
    assert torch.equal(own.state["layers.1.value.up"], tensors[name])


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("LoraConfig", {"r": 2, "use_dora": True}, "has use_dora=True, but mbert reads only use_dora=False"),
        ("LoraConfig", {"r": 2, "bias": "all"}, "has bias='all', but mbert reads only bias='none'"),
        ("LoraConfig", {"r": 2, "rank_pattern": {"query": 1}}, "has a rank_pattern, but LoRA of mbert has one rank"),
        ("LoraConfig", {"r": 2, "layers_to_transform": [1]}, "has no tensor encoder.layer.0.attention.self.query."),
        ("LoraConfig", {"r": 2, "target_modules": ["pooler.dense"]}, "has no LoRA at query, key, value, attention_"),
        ("LoraConfig", {"r": 2, "target_modules": ["pooler.dense", "query"]}, "has values for pooler.dense, where"),
        ("IA3Config", {}, "has values for encoder.layer.0.attention.output.dense, where mbert cannot have this"),
        ("PrefixTuningConfig", {"num_virtual_tokens": 2, "prefix_projection": True}, "has a projection of its prefix"),
        ("PromptTuningConfig", {"num_virtual_tokens": 2}, "has peft_type='PROMPT_TUNING', but mbert reads LORA, IA3"),
    ],
)  # fmt: skip
def test_adapters_of_peft_that_mbert_lacks_are_refused(kind, options, reason, tiny_checkpoint, tmp_path):
    if kind == "LoraConfig":
        options = {"target_modules": ["query"], **options}
    folder = written_by_peft(tmp_path / "theirs", tiny_checkpoint, options, kind)
    with pytest.raises(NotExpressibleError, match=reason):
        read(folder, tiny_checkpoint)


def test_an_adapter_of_a_larger_encoder_is_refused(tiny_checkpoint, tmp_path):
    saved = random_model(tmp_path, tiny_checkpoint, CLASSES, [PREFIX])
    folder = exported(saved, tmp_path / "out", tiny_checkpoint)
    with pytest.raises(
        NotExpressibleError, match=r"has a prefix of \[3, 64\] values, but the encoder has 3 layers of 32"
    ):
        read(folder, checkpoint_of("bert", tmp_path))


@pytest.mark.parametrize(
    ("family", "adapters", "texts", "reason"),
    [
        ("bert", [], 1, "a PEFT folder contains one adapter, but the task has none"),
        ("bert", [LORA, {"kind": "top"}], 1, "contains one adapter, but the task has lora and top; use --format trans"),
        ("bert", [{"kind": "bitfit"}], 1, "the adapter bitfit has no counterpart in peft; only lora, ia3 and prefix"),
        ("bert", [{"kind": "prefix", "length": 2}], 1, "the adapter prefix has gates, but prefixes of peft have none"),
        ("bert", [PREFIX], 2, "the adapter prefix reads pairs with token types, which peft ignores for prefixes"),
        ("mpnet", [PREFIX], 1, "which mpnet of transformers does not accept"),
        ("modernbert", [LORA], 1, "acts on the query, but modernbert has one module for query, key and value"),
        ("albert", [IA3], 1, "the adapter ia3 differs by layer, but all layers of albert share one module"),
    ],
)
def test_what_peft_cannot_express_is_refused_with_the_reason(family, adapters, texts, reason, tmp_path):
    saved = random_model(tmp_path, checkpoint_of(family, tmp_path), CLASSES, adapters, texts=texts)
    with pytest.raises(UsageError, match=rf"^task mood: .*{reason}.*--format onnx"):
        export_peft(saved, "mood", tmp_path, "base", "0" * 64)


@pytest.mark.real_weights
def test_a_real_encoder_gives_the_same_states(minilm, tmp_path):
    saved = random_model(tmp_path, minilm, CLASSES, [LORA], max_length=64, std=0.02)
    theirs = vectors_of_peft(exported(saved, tmp_path / "out", minilm), minilm)
    assert (vectors_of(saved, TEXTS) - theirs).abs().max() <= 1e-5
