"""Training steps equal those of a plain PyTorch loop, with all kernels."""

import copy
import importlib.util

import pytest
import torch
from tiny_runs import STEPS, losses_of, run_of, steps_of
from torch import nn
from transformers import BertConfig, BertModel
from word_salad import TINY_SIZES

from mbert_cli.data.batching import TaskData
from mbert_cli.encoder.kernels import NAMES
from mbert_cli.training.loop import TrainingRun

HAVE_NUMBA = importlib.util.find_spec("numba") is not None
KERNELS = [
    pytest.param(name, marks=pytest.mark.skipif(name == "fused" and not HAVE_NUMBA, reason="needs numba"))
    for name in NAMES
]


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint, tmp_path_factory):
    """Like the tiny checkpoint, with sizes that the fused kernels support."""
    folder = tmp_path_factory.mktemp("even") / "checkpoint"
    torch.manual_seed(0)
    sizes = {**TINY_SIZES, "hidden_size": 32, "intermediate_size": 64}
    model = BertModel(BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((tiny_checkpoint / "tokenizer.json").read_bytes())
    return folder


class PlainLoop:
    """A BertModel, the run's heads, padded batches, and AdamW with dense gradients."""

    def __init__(self, run: TrainingRun, checkpoint) -> None:
        self.data, self.training = run.data.train, run.recipe.training
        self.bert = BertModel.from_pretrained(checkpoint, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.heads = nn.ModuleDict({task: copy.deepcopy(run.model.head(task)) for task in run.model.task_names})
        self.parameters = [*self.bert.parameters(), *self.heads.parameters()]
        decayed, others = ([p for p in self.parameters if (p.ndim > 1) is matrix] for matrix in (True, False))
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": self.training.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=self.training.learning_rate,
        )

    def step(self, rows, own) -> dict[str, float]:
        losses = {}
        for task, indices in rows.items():
            data: TaskData = self.data[task]
            texts = [self.embed(side, indices) for side in data.sides]
            head = self.heads[task]
            losses[task] = head.loss(head(*texts), torch.from_numpy(data.labels[indices]))
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        if own is not None:
            for parameter in self.bert.parameters():
                parameter.grad = None
        nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], self.training.clip_norm)
        self.optimizer.step()
        return {task: loss.item() for task, loss in losses.items()}

    def embed(self, side, indices):
        texts = [torch.from_numpy(side.ids[side.starts[i] : side.starts[i + 1]]).long() for i in indices]
        ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
        mask = nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
        h = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def assert_near(found, expected, tolerance=1e-4):
    assert len(found) == len(expected) >= STEPS // 2
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=tolerance)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("curriculum", ["simultaneous", "sequential", "hybrid"])
def test_losses_equal_those_of_a_plain_loop(tiny_recipe, tmp_path, checkpoint, kernels, curriculum):
    settings = (f"curriculum={curriculum}", "adapters=[]", "training.learning_rate=1e-3")
    run = run_of(tiny_recipe, tmp_path, checkpoint, kernels, *settings)
    plain = PlainLoop(run, checkpoint)
    expected = [plain.step(rows, own) for epoch in (1, 2) for rows, own in steps_of(run, epoch)]
    assert_near(losses_of(run, (1, 2)), expected)


@pytest.mark.real_weights
@pytest.mark.parametrize("kernels", KERNELS)
def test_losses_of_minilm_equal_those_of_a_plain_loop(tiny_recipe, tmp_path, minilm, kernels):
    settings = ("curriculum={kind: simultaneous, match: largest}", "adapters=[]", "training.batch_size=4")
    run = run_of(tiny_recipe, tmp_path, minilm, kernels, *settings, "training.learning_rate=2e-5")
    plain = PlainLoop(run, minilm)
    expected = [plain.step(rows, own) for rows, own in steps_of(run)]
    assert_near(losses_of(run), expected)


@pytest.mark.skipif(not HAVE_NUMBA, reason="needs numba")
@pytest.mark.parametrize("adapters", ["low_rank", "houlsby", "pal", "lora", "prefix", "top"])
@pytest.mark.parametrize("curriculum", ["simultaneous", "hybrid"])
def test_steps_with_adapters_are_equal_with_fused_and_torch_kernels(
    tiny_recipe, tmp_path, checkpoint, adapters, curriculum
):
    option = {"prefix": "length", "top": ""}.get(adapters, "rank")
    spec = f"{{kind: {adapters}, {option}: 6}}" if option else f"{{kind: {adapters}}}"
    settings = (f"curriculum={curriculum}", f"adapters=[{spec}]")
    found = [losses_of(run_of(tiny_recipe, tmp_path, checkpoint, each, *settings), (1, 2)) for each in NAMES]
    assert_near(*found)


@pytest.mark.skipif(not HAVE_NUMBA, reason="needs numba")
def test_weights_in_bf16_follow_the_optimizer(tiny_recipe, tmp_path, checkpoint):
    run = run_of(tiny_recipe, tmp_path, checkpoint, "fused", "curriculum=simultaneous", precision="bf16")
    losses_of(run)
    output = run.model.encoder.layers[0].output
    before = output.weight.detach().clone()
    rows, _ = next(steps_of(run))
    run.step(rows)
    assert not torch.equal(output.weight, before)
    assert torch.equal(output.weight_in(torch.bfloat16), output.weight.bfloat16())
