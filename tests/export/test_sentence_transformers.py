"""`mbert export --format sentence-transformers`: what the library computes is what mbert computes."""

import json

import pytest
import torch
from random_models import outputs_of, random_model, vectors_of
from word_salad import sentences

from mbert_cli.errors import UsageError
from mbert_cli.export.sentence_transformers import export_sentence_transformers

library = pytest.importorskip("sentence_transformers")

CLASSES = {"kind": "classification", "labels": ["low", "mid", "high"]}
COSINE = {"kind": "cosine_similarity"}
FOLDED = [{"kind": "lora", "rank": 2}, {"kind": "top"}]
FIRSTS, SECONDS = [*sentences(12, 5), "cat " * 40], [*sentences(12, 6), "dog"]
PAIRS = list(zip(FIRSTS, SECONDS, strict=True))


def opened(saved, folder, head=True):
    folder.mkdir()
    kind = export_sentence_transformers(saved, "mood", folder, head)
    return getattr(library, kind)(str(folder), device="cpu", local_files_only=True)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", {"kind": "cls", "pooler": True}], ids=str)
def test_without_the_head_encode_gives_the_vectors_of_embed(pooling, tiny_checkpoint, tmp_path):
    saved = random_model(tmp_path, tiny_checkpoint, CLASSES, FOLDED, pooling)
    model = opened(saved, tmp_path / "out", head=False)
    ours, theirs = vectors_of(saved, FIRSTS), model.encode(FIRSTS, convert_to_tensor=True)
    assert ours.std(0).min() > 1e-3
    assert (ours - theirs).abs().max() <= 1e-5
    assert model.max_seq_length == 16
    assert not any(model.prompts.values())


@pytest.mark.parametrize("between", ["relu", "none"])
def test_the_similarity_of_two_texts_is_the_score_of_a_cosine_head(between, tiny_checkpoint, tmp_path):
    head = {**COSINE, "hidden_activation": between}
    saved = random_model(tmp_path, tiny_checkpoint, head, FOLDED, "mean", texts=2, symmetric=True)
    model = opened(saved, tmp_path / "out")
    one, two = (model.encode(texts, convert_to_tensor=True) for texts in (FIRSTS, SECONDS))
    cosines = outputs_of(saved, FIRSTS, SECONDS)
    assert cosines.std() > 1e-3
    assert (model.similarity_pairwise(one, two) - cosines).abs().max() <= 1e-5
    assert one.norm(dim=1) == pytest.approx(torch.ones(len(FIRSTS)), abs=1e-6)
    assert model.similarity_fn_name == "cosine"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "0 to 5, which it computes from the cosine with the activation `relu`." in card
    assert "both orders" not in card  # a cosine is the same in both


@pytest.mark.parametrize(
    ("head", "pooling"),
    [
        (CLASSES, "mean"),
        ({"kind": "multi_label", "labels": ["a", "b"]}, {"kind": "cls", "pooler": True}),
        ({"kind": "unbounded_regression"}, "max"),
        ({"kind": "regression", "min": -1, "max": 3}, "cls"),
    ],
)
def test_a_cross_encoder_predicts_logits_or_the_values_of_a_scale(head, pooling, tiny_checkpoint, tmp_path):
    saved = random_model(tmp_path, tiny_checkpoint, head, FOLDED, pooling, texts=2)
    model = opened(saved, tmp_path / "out")
    assert isinstance(model, library.CrossEncoder)
    theirs = model.predict(PAIRS, convert_to_tensor=True)
    ours = outputs_of(saved, FIRSTS, SECONDS)
    if head["kind"].endswith("regression"):
        ours = saved.model.head("mood").values(ours)
    assert ours.std(0).min() > 1e-3
    assert (theirs - ours).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("head", "texts", "reason"),
    [
        (CLASSES, 1, "sentence-transformers has no heads for single texts; use --no-head .* or --format transformers"),
        (
            {"kind": "pair_classification"},
            2,
            "compares two texts by their cosine, but the head pair_classification does",
        ),
        ({"kind": "dual_similarity"}, 2, "but the head dual_similarity does more; use --format onnx, or --no-head"),
        ({"kind": "ordinal", "labels": ["a", "b", "c"]}, 2, "the head ordinal is not a linear layer .* or --no-head"),
    ],
)
def test_heads_that_the_library_lacks_are_refused_with_the_reason(head, texts, reason, tiny_checkpoint, tmp_path):
    saved = random_model(tmp_path, tiny_checkpoint, head, texts=texts)
    with pytest.raises(UsageError, match=rf"^task mood: .*{reason}"):
        export_sentence_transformers(saved, "mood", tmp_path)


def test_the_code_of_the_card_runs(tiny_checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, head in (("vectors", COSINE), ("scores", CLASSES)):
        opened(random_model(tmp_path, tiny_checkpoint, head, texts=2), tmp_path / name)
        code = (tmp_path / name / "README.md").read_text().split("```python\n")[1].split("```")[0]
        capsys.readouterr()
        exec(code.replace("FOLDER", name), {})
        assert capsys.readouterr().out.startswith(("tensor([[", "[[")), name


@pytest.mark.real_weights
def test_a_real_encoder_gives_the_same_vectors(minilm, tmp_path):
    saved = random_model(tmp_path, minilm, COSINE, FOLDED, "mean", texts=2, max_length=64, std=0.01)
    model = opened(saved, tmp_path / "out", head=False)
    texts = ["The soup was cold.", "A man is playing a guitar on stage.", "Naïve café, 1999!", "word " * 90]
    assert (vectors_of(saved, texts) - model.encode(texts, convert_to_tensor=True)).abs().max() <= 1e-5
    assert json.loads((tmp_path / "out" / "modules.json").read_text())[0]["path"] == ""
