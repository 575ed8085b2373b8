"""`mbert export --format transformers`: what transformers computes is what mbert computes."""

import json

import pytest
import torch
from family_models import CASE_OF_FAMILY, reference_encoder
from random_models import outputs_of, random_model, vectors_of
from tokenizer_kinds import byte_pairs, word_pieces
from word_salad import sentences

from mbert_cli.calibration import Decision
from mbert_cli.errors import UsageError
from mbert_cli.export.transformers import export_transformers

CLASSES = {"kind": "classification", "labels": ["low", "mid", "high"]}
LABELS = {"kind": "multi_label", "labels": ["a", "b"]}
SCALE = {"kind": "regression", "min": -1, "max": 3}
FOLDED = [{"kind": "lora", "rank": 2, "targets": ["query", "intermediate"]}, {"kind": "ia3"}, {"kind": "layer_norm"}]
WORD_PIECES = ("bert", "distilbert", "electra", "ernie", "albert", "nomic_bert")
FIRSTS, SECONDS = sentences(12, 5), sentences(12, 6)


def checkpoint_of(family, folder):
    checkpoint = folder / "checkpoint"
    reference_encoder(CASE_OF_FAMILY[family], vocab_size=300).save_pretrained(checkpoint)
    (word_pieces if family in WORD_PIECES else byte_pairs)(checkpoint)
    return checkpoint


def exported(saved, folder, head=True):
    folder.mkdir()
    export_transformers(saved, "mood", folder, head)
    return folder


def opened(folder, name="AutoModelForSequenceClassification"):
    """Open a checkpoint as a user does, and check that each weight is used and none is missing."""
    import transformers

    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(report[each] for each in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    return model.eval()


def logits_of(folder, *sides):
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(
        *map(list, sides), padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return opened(folder)(**tokens).logits


def check(saved, folder, *sides):
    """Check that the logits of transformers are the calibrated outputs of mbert."""
    ours, theirs = outputs_of(saved, *sides), logits_of(exported(saved, folder), *sides)
    assert ours.std(0).min() > 1e-3
    assert (ours.view(theirs.shape) - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("family", CASE_OF_FAMILY)
def test_every_family_gives_the_logits_of_a_classification_without_a_pooler(family, tmp_path):
    saved = random_model(tmp_path, checkpoint_of(family, tmp_path), CLASSES)
    check(saved, tmp_path / "out", FIRSTS)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
def test_with_the_pooler_the_head_is_that_of_the_family(family, tmp_path):
    pooling = {"kind": "cls", "pooler": True}
    saved = random_model(tmp_path, checkpoint_of(family, tmp_path), LABELS, pooling=pooling, texts=2)
    check(saved, tmp_path / "out", FIRSTS, SECONDS)


@pytest.mark.parametrize("head", [CLASSES, LABELS, {"kind": "unbounded_regression"}], ids=lambda head: head["kind"])
def test_modernbert_expresses_mean_pooling_and_biases_of_adapters(head, tmp_path):
    adapters = [*FOLDED, {"kind": "bitfit"}]
    saved = random_model(tmp_path, checkpoint_of("modernbert", tmp_path), head, adapters, "mean")
    check(saved, tmp_path / "out", FIRSTS)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["mlp_bias"]
    assert config["classifier_pooling"] == "mean"


def test_folded_adapters_and_a_top_layer_are_part_of_the_weights(tiny_checkpoint, tmp_path):
    saved = random_model(tmp_path, tiny_checkpoint, CLASSES, [*FOLDED, {"kind": "bitfit"}, {"kind": "top"}], texts=2)
    check(saved, tmp_path / "out", FIRSTS, SECONDS)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 3


def test_biases_that_stay_zero_are_not_written(tmp_path):
    adapters = [{"kind": "lora", "rank": 2}, {"kind": "ia3"}]
    saved = random_model(tmp_path, checkpoint_of("nomic_bert", tmp_path), CLASSES, adapters)
    check(saved, tmp_path / "out", FIRSTS)


@pytest.mark.parametrize("family", ["bert", "mpnet", "deberta-v2"])
def test_the_values_of_a_scale_are_the_logits_where_the_head_has_a_tanh(family, tmp_path):
    saved = random_model(tmp_path, checkpoint_of(family, tmp_path), SCALE, texts=2)
    values = saved.model.head("mood").values(outputs_of(saved, FIRSTS, SECONDS))
    theirs = logits_of(exported(saved, tmp_path / "out"), FIRSTS, SECONDS)
    assert values.std() > 0.05
    assert (values - theirs[:, 0]).abs().max() <= 1e-5


def test_a_fitted_temperature_is_part_of_the_head(tiny_checkpoint, tmp_path):
    saved = random_model(tmp_path, tiny_checkpoint, {"kind": "classification", "labels": ["no", "yes"]})
    head = saved.model.head("mood")
    head.decision = Decision(temperature=2.5, cut=0.7)
    check(saved, tmp_path / "out", FIRSTS)
    assert f"yes if its probability is above {head.decision.threshold:.4f}" in (tmp_path / "out/README.md").read_text()


def test_the_config_names_labels_and_problem(tiny_checkpoint, tmp_path):
    cases = {
        "classes": (CLASSES, "single_label_classification", ["low", "mid", "high"]),
        "labels": (LABELS, "multi_label_classification", ["a", "b"]),
        "scale": (SCALE, "regression", ["mood"]),
    }
    for name, (head, problem, labels) in cases.items():
        folder = exported(random_model(tmp_path, tiny_checkpoint, head), tmp_path / name)
        config = opened(folder).config
        assert (config.problem_type, list(config.id2label.values())) == (problem, labels)


def test_a_pipeline_shows_the_probabilities_that_mbert_predicts(tiny_checkpoint, tmp_path):
    from transformers import pipeline

    saved = random_model(tmp_path, tiny_checkpoint, CLASSES)
    folder = exported(saved, tmp_path / "out")
    long = " ".join([*FIRSTS, *SECONDS])  # cut at 16 tokens by both
    classify = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    shown = {each["label"]: each["score"] for each in classify([long], truncation=True)[0]}
    expected = saved.model.head("mood").predict(outputs_of(saved, [long]))
    assert shown == pytest.approx({name: expected[f"p_{name}"][0] for name in CLASSES["labels"]}, abs=1e-6)


def test_without_the_head_auto_model_gives_the_hidden_states_of_the_task(tiny_checkpoint, tmp_path):
    from transformers import AutoTokenizer

    saved = random_model(tmp_path, tiny_checkpoint, {"kind": "cosine_similarity"}, FOLDED, texts=2)
    folder = exported(saved, tmp_path / "out", head=False)
    tokens = AutoTokenizer.from_pretrained(folder)(FIRSTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = opened(folder, "AutoModel")(**tokens).last_hidden_state[:, 0]
    assert (vectors_of(saved, FIRSTS) - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("family", "head", "adapters", "pooling", "reason"),
    [
        (
            "bert",
            CLASSES,
            [],
            "mean",
            "BertForSequenceClassification reads the first token, but the pooling .* is mean;",
        ),
        (
            "bert",
            CLASSES,
            [{"kind": "low_rank", "rank": 4}],
            "cls",
            "adapter low_rank computes inside the layers, so it cannot be folded",
        ),
        ("bert", CLASSES, [{"kind": "prefix"}], "cls", "the adapter prefix computes inside the layers"),
        ("modernbert", CLASSES, [{"kind": "top"}], "cls", "top does not continue the residual stream of the layers"),
        ("mpnet", CLASSES, [{"kind": "top"}], "cls", "the adapter top has parameters of distances that differ"),
        ("albert", CLASSES, [{"kind": "lora"}], "cls", "all layers of albert share their weights"),
        ("nomic_bert", CLASSES, [{"kind": "bitfit"}], "cls", "biases, which checkpoints of nomic_bert do not have"),
        (
            "bert",
            {"kind": "pair_classification"},
            [],
            "cls",
            "the head pair_classification reads the two texts .* separately",
        ),
        ("bert", {"kind": "ordinal", "labels": ["a", "b", "c"]}, [], "cls", "the head ordinal is not a linear layer"),
        ("electra", SCALE, [], "cls", "ElectraForSequenceClassification has no sigmoid or tanh"),
        ("bert", SCALE, [], {"kind": "cls", "pooler": True}, "has no sigmoid after the pooler"),
        (
            "distilbert",
            {"kind": "classification", "num_classes": 17},
            [],
            "cls",
            "no room for 17 outputs with 32 features",
        ),
    ],
)
def test_what_a_class_cannot_compute_is_refused_with_the_reason(family, head, adapters, pooling, reason, tmp_path):
    saved = random_model(tmp_path, checkpoint_of(family, tmp_path), head, adapters, pooling, texts=2)
    with pytest.raises(UsageError, match=rf"^task mood: .*{reason}.*--format onnx") as refusal:
        export_transformers(saved, "mood", tmp_path)
    assert len(refusal.value.problems) == 1
