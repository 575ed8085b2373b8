"""The worker of one peer in training. `PEERS` lists the names."""

import contextlib
import itertools
import os
import tempfile
import time
import warnings

from peer_encoder import open_encoder
from watched_steps import WatchedSteps
from workload import (
    COLUMNS,
    LEARNING_RATE,
    MAX_LENGTH,
    course_steps,
    memory,
    report,
    settings_of_worker,
    wait_for,
)

PEERS = {
    f"{name}_{precision}{fused}": f"{library}{name}_{precision}{fused}"
    for library, name, ways in (
        ("", "hf", ("", "_fused")),
        ("", "st", ("",)),
        ("adapters_", "houlsby", ("",)),
        ("peft_", "lora", ("",)),
    )
    for precision in ("fp32", "bf16")
    for fused in ways
}
"""The name of each peer's row in the table."""


def make_heads(hidden):
    """Return the paper's three heads, with their losses."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.1)
            self.sentiment = nn.Linear(hidden, 5)
            self.paraphrase = nn.Linear(3 * hidden, 1)
            self.similarity = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden))

        def loss(self, task, sentences, labels):
            if task == "sst":
                return functional.cross_entropy(self.sentiment(self.dropout(sentences[0])), labels.long())
            if task == "quora":
                u, v = sentences
                logits = self.paraphrase(torch.cat([u, v, (u - v).abs()], dim=-1)).squeeze(-1)
                return functional.binary_cross_entropy_with_logits(logits, labels)
            u, v = map(self.similarity, sentences)
            return functional.mse_loss(5 * functional.cosine_similarity(u, v).relu(), labels)

    return Heads()


def mean_pool(states, mask):
    """Return the mean hidden state of each sentence, in fp32."""
    weights = mask.unsqueeze(-1).float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1)


def with_adapters(model, method):
    """Return the encoder, its trainable parameters, and a function that activates the adapters of a task.

    Args:
        model: an encoder of transformers. `lora` and `houlsby` need one with BERT's names of modules.
        method: `hf` for no adapters, `lora` or `houlsby`.
    """
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=["query", "value"])
        first, *others = COLUMNS
        model = get_peft_model(model, config, adapter_name=first)
        for task in others:
            model.add_adapter(task, config)
        parameters = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
        return model, parameters, model.set_adapter
    if method == "houlsby":
        import adapters
        from adapters.composition import Stack

        adapters.init(model)
        for task in COLUMNS:
            model.add_adapter(task, config=adapters.DoubleSeqBnConfig(reduction_factor=4))
        model.train_adapter(Stack(*COLUMNS))
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return model, parameters, model.set_active_adapters
    return model, list(model.parameters()), lambda task: None


def loop(settings):
    """Train with a plain loop: each task is padded separately. Each side of a pair has its own forward pass."""
    import torch

    device = settings["device"]
    chosen = {"attn_implementation": settings["attention"]} if "attention" in settings else {}
    encoder, inputs_of = open_encoder(settings["encoder"], **chosen)
    model, parameters, activate = with_adapters(encoder, settings["name"].split("_")[0])
    model.to(device)
    heads = make_heads(model.config.hidden_size).train().to(device)
    model.train()
    fused = True if settings["name"].endswith("fused") else None
    optimizer = torch.optim.AdamW([*parameters, *heads.parameters()], lr=LEARNING_RATE, weight_decay=0.01, fused=fused)
    bf16 = torch.autocast(device, torch.bfloat16) if "bf16" in settings["name"] else contextlib.nullcontext()
    rows, steps = course_steps(settings)
    times, tokens, read = [], [], 0
    watched, waits = WatchedSteps(steps, settings), not settings.get("flowing")
    for step in watched:
        start, count = time.perf_counter(), 0
        for task, indices in step.items():
            activate(task)
            *sides, labels = zip(*(rows[task][index] for index in indices), strict=True)
            sentences = []
            with bf16:  # one block for both sides, because autocast keeps the cast weights within it
                for side in sides:
                    inputs = inputs_of(list(side))
                    count += int(inputs["attention_mask"].sum())
                    read += len(inputs["attention_mask"])
                    inputs = inputs.to(device)
                    states = model(**inputs).last_hidden_state
                    sentences.append(mean_pool(states, inputs["attention_mask"]))
            heads.loss(task, sentences, torch.tensor(labels, device=device)).backward()
        optimizer.step()
        optimizer.zero_grad()
        if waits:
            wait_for(device)
        times.append(time.perf_counter() - start)
        tokens.append(count)
    untrained = [parameter for parameter in parameters if parameter not in optimizer.state]
    assert not untrained, f"{len(untrained)} parameters did not train"
    timed = slice(settings["warm_up"], settings["warm_up"] + settings["steps"])
    work = {"sentences": read, "tokens": sum(tokens)}
    mean = sum(tokens[timed]) / settings["steps"]
    return {"times": times[timed], "tokens": mean, "work": work, **watched.figures()}


def sentence_transformers_trainer(settings):
    """Train with the trainer of sentence-transformers, with one data set and one loss per task."""
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss, SoftmaxLoss
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import TrainerCallback

    encoder = Transformer(settings["encoder"], max_seq_length=MAX_LENGTH)
    hidden = encoder.get_embedding_dimension()
    model = SentenceTransformer(modules=[encoder, Pooling(hidden, "mean")], device=settings["device"])

    class SentimentLoss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model
            self.head = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(hidden, 5))

        def forward(self, features, labels):
            logits = self.head(self.model(features[0])["sentence_embedding"])
            return torch.nn.functional.cross_entropy(logits, labels)

    # Only the rows of the steps; the trainer shuffles them.
    rows, steps = course_steps(settings)
    taken = {task: [rows[task][index] for step in steps for index in step[task]] for task in rows}
    data = {
        "sst": Dataset.from_list([{"sentence": text, "label": int(label)} for text, label in taken["sst"]]),
        "quora": Dataset.from_list([{"a": a, "b": b, "label": int(label)} for a, b, label in taken["quora"]]),
        "sts": Dataset.from_list([{"a": a, "b": b, "label": label / 5} for a, b, label in taken["sts"]]),
    }
    losses = {
        "sst": SentimentLoss(),
        "quora": SoftmaxLoss(model, hidden, num_labels=2),
        "sts": CosineSimilarityLoss(model),
    }
    ends, work = [], {"sentences": 0, "tokens": 0}
    timed_end = settings["warm_up"] + settings["steps"]

    class Clock(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            if not settings.get("flowing") or len(ends) + 1 in (settings["warm_up"], timed_end):
                wait_for(settings["device"])
            ends.append(time.perf_counter())

    def count(_, inputs):
        work["sentences"] += len(inputs[0]["attention_mask"])
        work["tokens"] += int(inputs[0]["attention_mask"].sum())

    encoder.register_forward_pre_hook(count)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            max_steps=len(steps),
            per_device_train_batch_size=settings["batch_size"],
            gradient_accumulation_steps=len(data),  # one step after a batch of each task
            multi_dataset_batch_sampler="round_robin",
            learning_rate=LEARNING_RATE,
            weight_decay=0.01,
            bf16="bf16" in settings["name"],
            use_cpu=settings["device"] == "cpu",
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=data, loss=losses, callbacks=[Clock()]
        )
        trainer.train()
    assert len(ends) == len(steps), f"took {len(ends)} steps of {len(steps)}"
    # The encoder's pooler has weights, but its output is not used.
    parameters = {
        each for part in (model, *losses.values()) for name, each in part.named_parameters() if ".pooler." not in name
    }
    untrained = [each for each in parameters if each not in trainer.optimizer.state]
    assert not untrained, f"{len(untrained)} parameters did not train"
    times = [end - start for start, end in itertools.pairwise(ends)]
    timed = times[settings["warm_up"] - 1 : timed_end - 1]
    seconds = sum(timed) / len(timed)
    return {"times": timed, "tokens": work["tokens"] / len(steps), "work": work, "seconds_per_step": seconds}


def main():
    """Train the steps of one peer, and report their times."""
    settings = settings_of_worker()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore")
    import torch

    torch.manual_seed(0)
    sentence_transformers = settings["name"].startswith("st_")
    result = sentence_transformers_trainer(settings) if sentence_transformers else loop(settings)
    report({**result, **memory(settings["device"])})


if __name__ == "__main__":
    main()
