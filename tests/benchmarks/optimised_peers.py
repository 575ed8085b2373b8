"""sentence-transformers on OpenVINO and on ONNX Runtime, in fp32 and int8: peers in prediction on CPUs.

They need an environment of their own: see README.md. The models are converted once for each folder of a benchmark,
before the measurement starts.
"""

import csv
import shutil
from pathlib import Path

from workload import MAX_LENGTH, course_file

NAMES = ("ov_fp32", "ov_int8", "ort_int8")
_CALIBRATION_TEXTS = 300
_CALIBRATION_LENGTH = 32


def sentence_transformer(name, encoder, folder, threads):
    """Return the SentenceTransformer of a peer, with mean pooling.

    Args:
        name: the peer.
        encoder: the folder of the checkpoint.
        folder: a folder for the converted models, which all workers of the benchmark share.
        threads: number of threads.
    """
    converted = Path(folder) / f"{name}-model"
    if name.startswith("ov"):
        if not converted.exists():
            _write(converted, _export_to_openvino if name == "ov_fp32" else _quantise_for_openvino, encoder)
        return _model(converted, backend="openvino", ov_config={"INFERENCE_NUM_THREADS": str(threads)})
    if not converted.exists():
        _write(converted, _quantise_for_onnx_runtime, encoder)
    (file,) = (converted / "onnx").glob("*qint8*")
    return _model(converted, backend="onnx", provider="CPUExecutionProvider", file_name=file.name)


def _model(encoder, backend, **options):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    inner = Transformer(str(encoder), max_seq_length=MAX_LENGTH, backend=backend, model_kwargs=options)
    return SentenceTransformer(modules=[inner, Pooling(inner.get_embedding_dimension(), "mean")], device="cpu")


def _write(folder, write, encoder):
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    write(encoder, new)
    new.rename(folder)


def _export_to_openvino(encoder, folder):
    from optimum.intel import OVModelForFeatureExtraction

    OVModelForFeatureExtraction.from_pretrained(encoder, export=True).save_pretrained(folder)
    _copy_tokenizer(encoder, folder)


def _quantise_for_openvino(encoder, folder):
    """Write a model in static int8 by nncf, calibrated on sentences of the course's training data."""
    from datasets import Dataset
    from optimum.intel import OVConfig, OVModelForFeatureExtraction, OVQuantizationConfig, OVQuantizer
    from transformers import AutoTokenizer

    with open(course_file("quora", "train"), newline="", encoding="utf-8") as file:
        rows = [row for _, row in zip(range(_CALIBRATION_TEXTS), csv.DictReader(file, delimiter="\t"), strict=False)]
    texts = Dataset.from_dict({"text": [row["sentence1"] for row in rows]})
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    settings = {"padding": "max_length", "max_length": _CALIBRATION_LENGTH, "truncation": True}
    texts = texts.map(lambda row: tokenizer(row["text"], **settings), remove_columns=["text"])
    quantiser = OVQuantizer.from_pretrained(OVModelForFeatureExtraction.from_pretrained(encoder, export=True))
    config = OVConfig(quantization_config=OVQuantizationConfig())
    quantiser.quantize(ov_config=config, calibration_dataset=texts, save_directory=str(folder))
    _copy_tokenizer(encoder, folder)


def _quantise_for_onnx_runtime(encoder, folder):
    """Write a model in dynamic int8, as sentence-transformers recommends for AVX512-VNNI."""
    from sentence_transformers import export_dynamic_quantized_onnx_model

    model = _model(encoder, backend="onnx", provider="CPUExecutionProvider", export=True)
    model.save_pretrained(str(folder))
    export_dynamic_quantized_onnx_model(model, "avx512_vnni", str(folder))


def _copy_tokenizer(encoder, folder):
    for path in Path(encoder).iterdir():
        if path.suffix in (".json", ".txt") and not (folder / path.name).exists():
            shutil.copy(path, folder / path.name)
