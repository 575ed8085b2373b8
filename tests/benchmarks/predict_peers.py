"""The worker of one peer in prediction. It reads a TSV file and writes a TSV file."""

import csv
import os
import time
import warnings
from pathlib import Path

import optimised_peers
from peer_encoder import open_encoder
from workload import MAX_LENGTH, memory, report, settings_of_worker

PEERS = ("hf_fp32", "hf_bf16", "st_fp32", "st_bf16", *optimised_peers.NAMES)
_BATCH_SIZE = 32


def embed_with_transformers(settings, dtype, work):
    """Return a function from texts to mean-pooled sentence vectors. It reads padded batches, longest sentences first.

    `work` counts the sentences and tokens that the model reads.
    """
    import torch

    model, inputs_of = open_encoder(settings["encoder"], dtype=dtype)
    model.eval().to(settings["device"])

    def embed(texts):
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        vectors = torch.empty(len(texts), model.config.hidden_size)
        for start in range(0, len(order), _BATCH_SIZE):
            members = order[start : start + _BATCH_SIZE]
            inputs = inputs_of([texts[index] for index in members]).to(settings["device"])
            work["sentences"] += len(inputs["attention_mask"])
            work["tokens"] += int(inputs["attention_mask"].sum())
            states = model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            vectors[members] = (states * mask).sum(dim=1).div(mask.sum(dim=1)).cpu()
        return vectors

    return embed


def embed_with_sentence_transformers(settings, dtype, work):
    """Return a function from texts to sentence vectors, with `SentenceTransformer.encode`.

    `work` counts the sentences and tokens that the model reads.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    encoder = Transformer(settings["encoder"], max_seq_length=MAX_LENGTH, model_kwargs={"dtype": dtype})
    pooling = Pooling(encoder.get_embedding_dimension(), "mean")
    return _encode_with(SentenceTransformer(modules=[encoder, pooling], device=settings["device"]), work)


def embed_with_optimised_model(settings, _, work):
    """Return a function from texts to sentence vectors, on OpenVINO or ONNX Runtime; `work` as above."""
    import torch

    folder = Path(settings["output"]).parent
    threads = torch.get_num_threads()
    return _encode_with(
        optimised_peers.sentence_transformer(settings["name"], settings["encoder"], folder, threads), work
    )


def _encode_with(model, work):
    def count(_, inputs):
        work["sentences"] += len(inputs[0]["attention_mask"])
        work["tokens"] += int(inputs[0]["attention_mask"].sum())

    model[0].register_forward_pre_hook(count)
    model.encode(["warm up"])
    work.update(dict.fromkeys(work, 0))
    return lambda texts: model.encode(texts, batch_size=_BATCH_SIZE, convert_to_tensor=True).float().cpu()


def scores_of(task, weights, vectors):
    """Return each row's probabilities, by the heads of the saved run."""
    import torch

    weight, bias = weights["head.linear.weight"], weights["head.linear.bias"]
    if task == "sst":
        return torch.softmax(vectors @ weight.T + bias, dim=-1)
    u, v = vectors[0::2], vectors[1::2]
    return torch.sigmoid(torch.cat([u, v, (u - v).abs()], dim=-1) @ weight.T + bias)


def main():
    """Predict a file with one peer. Report the time from reading the input to the end of the output."""
    settings = settings_of_worker()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.simplefilter("ignore")
    import torch
    from safetensors.torch import load_file

    library, precision = settings["name"].split("_")
    makers = {"hf": embed_with_transformers, "st": embed_with_sentence_transformers}
    makers |= dict.fromkeys(("ov", "ort"), embed_with_optimised_model)
    work = {"sentences": 0, "tokens": 0}
    embed = makers[library](settings, torch.bfloat16 if precision == "bf16" else torch.float32, work)
    weights = load_file(settings["head"])
    start = time.perf_counter()
    with open(settings["input"], newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    with torch.inference_mode():
        found = scores_of(settings["task"], weights, embed([text for row in rows for text in row[1:]])).tolist()
    with open(settings["output"], "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, delimiter="\t", lineterminator="\n")
        out.writerow([*header, *(f"p_{index}" for index in range(len(found[0])))])
        out.writerows([*row, *(f"{score:.6g}" for score in scores)] for row, scores in zip(rows, found, strict=True))
    report({"work_s": time.perf_counter() - start, "work": work, **memory(settings["device"])})


if __name__ == "__main__":
    main()
