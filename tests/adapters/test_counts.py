"""Parameter counts: by the paper's Table 1, by hand, and by the formula of each adapter."""

import re
from dataclasses import replace

import pytest
import torch
from components import ALL_TARGETS, built, every

from mbert_cli.adapters.pal import PAL
from mbert_cli.encoder.shape import EncoderShape

BERT_BASE = EncoderShape()
# All sizes differ, and within a formula no size is a multiple of another.
ODD = EncoderShape(vocab_size=11, hidden_size=35, num_layers=5, num_heads=5, intermediate_size=83, max_positions=8)
# Table 1 for one task at d_m 768, d_s 204, L 12: weights; then biases, and the two LayerNorms of the top layer.
L, M, S = 12, 768, 204
TABLE_1 = {
    "pal": (2 * M * S + L * 3 * S**2, S + M + L * 3 * S),
    "low_rank": (L * 2 * M * S, L * (S + M)),
    "houlsby": (L * 4 * M * S, L * 2 * (S + M)),
    "top": (12 * M**2, 4 * M + 4 * M + M + 2 * 2 * M),
}
# The values for three tasks from another source: weights; then with the rest.
THREE_TASKS = {
    "pal": (5_434_560, 5_459_508),
    "low_rank": (11_280_384, 11_315_376),
    "houlsby": (22_560_768, 22_630_752),
    "top": (21_233_664, 21_263_616),
}


def on_meta(kind, options, shape):
    with torch.device("meta"):
        return built("adapters", kind, options, shape)


def exact(adapter):
    return sum(parameter.numel() for parameter in adapter.parameters())


@pytest.mark.parametrize("kind", TABLE_1)
def test_parameter_counts_match_table_1_for_one_task_to_eight(kind):
    weights, others = TABLE_1[kind]
    adapters = []
    for tasks in range(1, 9):
        adapters.append(on_meta(kind, {}, BERT_BASE))
        matrices = [p for adapter in adapters for p in adapter.parameters() if p.ndim == 2]
        assert sum(matrix.numel() for matrix in matrices) == tasks * weights
        assert sum(adapter.num_weights() for adapter in adapters) == tasks * weights
        assert sum(exact(adapter) for adapter in adapters) == tasks * (weights + others)


@pytest.mark.parametrize("kind", TABLE_1)
def test_three_tasks_have_the_counts_of_the_table(kind):
    weights, others = TABLE_1[kind]
    assert (3 * weights, 3 * (weights + others)) == THREE_TASKS[kind]


@pytest.mark.parametrize(
    ("kind", "options", "weights", "others"),
    [
        ("pal", {"rank": 6, "heads": 3}, 2 * 35 * 6 + 5 * 3 * 6 * 6, 6 + 35 + 5 * 3 * 6),
        ("low_rank", {"rank": 7}, 5 * 2 * 35 * 7, 5 * (7 + 35)),
        ("houlsby", {"rank": 7}, 5 * 4 * 35 * 7, 5 * 2 * (7 + 35)),
        # Two LayerNorms per layer, and one of the embeddings.
        ("houlsby", {"rank": 7, "train_layer_norms": True}, 5 * 4 * 35 * 7, 5 * 2 * (7 + 35) + 11 * 2 * 35),
        ("top", {}, 4 * 35**2 + 2 * 35 * 83, 4 * 35 + 83 + 35 + 4 * 35),
        ("lora", {"rank": 3}, 5 * 2 * 3 * (35 + 35), 0),
        ("lora", {"rank": 3, "targets": ["key"]}, 5 * 3 * (35 + 35), 0),
        ("lora", {"rank": 3, "targets": ["output", "value"]}, 5 * 3 * (83 + 35 + 35 + 35), 0),
        ("lora", {"rank": 3, "targets": ["intermediate"]}, 5 * 3 * (35 + 83), 0),
        ("lora", {"rank": 3, "targets": ALL_TARGETS}, 5 * 3 * (4 * 70 + 2 * 118), 0),
        ("ia3", {}, 5 * (35 + 35 + 83), 0),
        # Biases of Q, K, V, attention output, LayerNorm, intermediate, output, LayerNorm; then the embeddings'.
        ("bitfit", {}, 5 * (3 * 35 + 35 + 35 + 83 + 35 + 35) + 35, 0),
        ("layer_norm", {}, 2 * 35 * (5 * 2 + 1), 0),
        ("prefix", {"length": 9}, 5 * 9 * (35 + 35), 5 * 5),
        ("prefix", {"length": 9, "gate": "none"}, 5 * 9 * (35 + 35), 0),
    ],
)
def test_counts_by_hand(kind, options, weights, others):
    adapter = on_meta(kind, options, ODD)
    assert adapter.num_weights() == weights
    assert exact(adapter) == weights + others


def value(formula, **sizes):
    """Evaluate a formula: names are sizes, ^ is a power, and adjacent factors are multiplied."""
    tokens = re.findall(r"[A-Za-z]\w*|\d+|\S", formula)
    factor = re.compile(r"\w+|\)")
    python = []
    for before, token in zip(["", *tokens], tokens, strict=False):
        if factor.fullmatch(before) and (token == "(" or re.fullmatch(r"\w+", token)):
            python.append("*")
        python.append("**" if token == "^" else token)
    return eval(" ".join(python), {"__builtins__": {}}, sizes)


def test_formulas_are_evaluated_with_the_usual_precedence():
    assert value("2 (x + y^2) * 3 y + x", x=5, y=7) == 2 * (5 + 49) * 3 * 7 + 5
    with pytest.raises(NameError):
        value("2 d_q", d_m=1)


@every("adapters")
@pytest.mark.parametrize(
    "shape", [BERT_BASE, ODD, replace(ODD, intermediate_size=4 * 35)], ids=["base", "odd", "usual"]
)
def test_the_text_of_the_formula_gives_num_weights(kind, options, shape):
    adapter = on_meta(kind, options, shape)
    sizes = {"L": shape.num_layers, "d_m": shape.hidden_size, "d_ff": shape.intermediate_size}
    sizes["d_e"] = shape.embedding_width
    sizes |= {"d_s": options.get("rank"), "n": options.get("length")}
    assert value(adapter.formula, **sizes) == adapter.num_weights() > 0


@pytest.mark.parametrize("targets", [[each] for each in ALL_TARGETS] + [ALL_TARGETS[:5], ALL_TARGETS[2:]])
def test_the_formula_of_lora_depends_on_the_sizes_of_its_targets(targets):
    adapter = on_meta("lora", {"rank": 3, "targets": targets}, ODD)
    assert value(adapter.formula, L=5, d_m=35, d_ff=83, d_s=3) == adapter.num_weights()


def test_pal_counts_its_projections_once():
    with torch.device("meta"):
        few, many = (PAL(replace(ODD, num_layers=layers), rank=6).num_weights() for layers in (1, 9))
    assert many - few == 8 * 3 * 6 * 6
