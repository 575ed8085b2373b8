"""`--precision int8`: the weights are quantised once and kept beside the model."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny
import torch
from tiny_runs import options
from word_salad import sentences

from mbert_cli import Predictor
from mbert_cli.cli import app
from mbert_cli.encoder import int8_file, kernels
from mbert_cli.encoder.int8_file import keep_parts, read_parts
from mbert_cli.encoder.kernels.int8 import Int8Linear
from mbert_cli.errors import UsageError
from mbert_cli.machine.hardware import choose, why_not_int8
from mbert_cli.model.components import load_recipe
from mbert_cli.storage.atomic import check_folder, commit_folder, holds_only_what_was_committed
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import fit

CPU = torch.device("cpu")
TEXTS = {"text": sentences(40, seed=5)}
needs_int8 = pytest.mark.skipif(why_not_int8(CPU) is not None, reason="this processor has no int8 instructions")


@pytest.fixture(scope="module")
def trained(even_checkpoint, tiny_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny.write_recipe(folder / "recipe.yaml", even_checkpoint, tiny_files)
    (folder / "run").mkdir()
    fit(load_recipe(str(recipe), ["training.epochs=1"]), RunFolder(folder / "run"), options())
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def predictor_of(run, precision="int8", **others):
    return Predictor(run, device="cpu", precision=precision, **others)


def kept(folder):
    return sorted(folder.rglob("int8-*"))


def scores(predictor):
    columns = predictor(TEXTS, "mood")
    return np.array([columns[name] for name in ("p_low", "p_mid", "p_high")], dtype=float)


@needs_int8
def test_predictions_are_near_those_of_fp32_and_repeat(run):
    first, exact = scores(predictor_of(run)), scores(predictor_of(run, "fp32"))
    assert 0 < np.abs(first - exact).max() < 0.02
    assert (scores(predictor_of(run)) == first).all()


@needs_int8
def test_weights_are_quantised_once_and_kept_beside_the_model(run, monkeypatch):
    first = scores(predictor_of(run))
    (path,) = kept(run)
    assert path.parent == run / "model"
    check_folder(run / "model")
    assert holds_only_what_was_committed(run / "model")
    monkeypatch.setattr(Int8Linear, "of", None)
    again = predictor_of(run)
    assert (scores(again) == first).all()
    assert kept(run) == [path]
    layer = again.saved.model.members()[0].encoder.layers[0]
    assert {each.weight.dtype for each in layer.linears().values()} == {torch.int8}


@needs_int8
def test_a_damaged_file_or_one_of_other_weights_is_replaced(run):
    first = scores(predictor_of(run))
    (path,) = kept(run)
    whole = path.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:100], b""):
        path.write_bytes(damaged)
        assert (scores(predictor_of(run)) == first).all()
        assert path.read_bytes() == whole
    path.rename(path.with_name(f"int8-{'0' * 16}-{path.name.split('-')[2]}"))
    assert (scores(predictor_of(run)) == first).all()
    assert kept(run) == [path]


@needs_int8
def test_without_permission_to_write_nothing_is_kept(run, monkeypatch, caplog):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(int8_file.tempfile, "mkstemp", refuse)
    with caplog.at_level("INFO"):
        scores(predictor_of(run))
    assert "Permission denied" in caplog.text
    assert kept(run) == []


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path):
    parts = {"b": torch.arange(50, dtype=torch.int8), "a": torch.rand(1000)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: keep_parts(tmp_path, "source", parts), range(32)))
    assert len(list(tmp_path.iterdir())) == 1
    found = read_parts(tmp_path, "source")
    assert found.keys() == parts.keys()
    assert all(torch.equal(found[name], parts[name]) for name in parts)
    assert read_parts(tmp_path, "another source") is None


@needs_int8
def test_each_member_of_an_ensemble_keeps_its_weights(run):
    def write(new):
        shutil.copytree(run / "model" / "encoder", new / "encoder", ignore=shutil.ignore_patterns("*.safetensors"))
        config = json.loads((run / "model" / "config.json").read_text()) | {"members": 2}
        (new / "config.json").write_text(json.dumps(config))
        for number in "12":
            for part in ("encoder", "tasks"):
                shutil.copytree(run / "model" / part, new / "members" / number / part)

    alone = scores(predictor_of(run))
    commit_folder(run.parent / "ensemble", write)
    for _ in range(2):
        assert scores(predictor_of(run.parent / "ensemble")) == pytest.approx(alone, abs=1e-6)
    assert [path.parent.name for path in kept(run.parent / "ensemble")] == ["1", "2"]


@needs_int8
def test_folded_models_are_quantised_after_folding(run):
    folding = predictor_of(run, fold=True)
    assert (scores(folding) == scores(predictor_of(run))).all()
    assert folding.outputs.model_of("mood").members()[0].encoder.layers[0].output.weight.dtype == torch.int8


@needs_int8
def test_int8_is_part_of_the_facts_about_a_prediction():
    facts = [choose("cpu", name, prediction=True).facts() for name in ("int8", "auto")]
    assert facts[0]["precision"] != facts[1]["precision"]
    assert choose("cpu", "int8", prediction=True).precision == "int8"


def test_int8_is_refused_with_the_reason(monkeypatch):
    with pytest.raises(UsageError, match="for predictions only"):
        choose("cpu", "int8")
    for instructions in ("vnni", "amx_tile", "avx2"):
        monkeypatch.setattr(torch.cpu, f"_is_{instructions}_supported", lambda: False)
    with pytest.raises(UsageError, match="no instructions for int8 products \\(AVX2, AVX512-VNNI or AMX\\)"):
        choose("cpu", "int8", prediction=True)
    assert why_not_int8(torch.device("cuda")) == "int8 products run on CPUs only, and the device is cuda"


def test_with_avx2_only_int8_needs_the_fused_kernels(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: True)
    monkeypatch.setattr(kernels, "find_spec", lambda name: name)
    assert why_not_int8(CPU) is None
    assert choose("cpu", "int8", prediction=True).kernels == "fused"
    with pytest.raises(UsageError, match="int8 needs the fused kernels, and --kernels is 'torch'"):
        choose("cpu", "int8", "torch", prediction=True)
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="int8 needs the fused kernels; they need the package numba"):
        choose("cpu", "int8", prediction=True)


@needs_int8
def test_evaluate_compares_int8_with_fp32_and_saves_the_comparison(run, capsys):
    def metrics(*words):
        app(["evaluate", str(run), "--device", "cpu", "--json", *words], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    exact = metrics("--precision", "fp32")
    assert "int8" not in exact
    assert metrics("--precision", "int8", "--limit", "5")["int8"].keys() == {"tasks", "overall"}
    path = run / "model" / "int8-scores.json"
    assert not path.exists()
    found = metrics("--precision", "int8")
    compared = found.pop("int8")
    for name, own in compared["tasks"].items():
        metric = own["metric"]
        assert own["int8"] == found["tasks"][name][metric]
        assert own["fp32"] == pytest.approx(exact["tasks"][name][metric])
        assert own["difference"] == own["int8"] - own["fp32"]
        assert 0 < own["largest_change"] < 0.2
    assert compared["overall"]["int8"] == found["overall"]
    assert compared["overall"]["fp32"] == pytest.approx(exact["overall"])
    assert json.loads(path.read_text())["tasks"] == compared["tasks"]
    check_folder(run / "model")
    app(["evaluate", str(run), "--device", "cpu", "--precision", "int8"], standalone_mode=False)
    assert "int8 compared with fp32" in capsys.readouterr().out
