import importlib
import inspect
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mbert_cli.batch import Batch, Layout
from mbert_cli.curricula import Curriculum
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import RecipeError
from mbert_cli.heads import Head
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.model import components, compose
from mbert_cli.model.components import build, component_class, kinds, load_recipe
from mbert_cli.model.compose import meta_model
from mbert_cli.pooling import Pooling
from mbert_cli.recipe.sections import Component
from mbert_cli.recipe.shipped import shipped_names

FAMILIES = {
    "adapters": Adapter,
    "pooling": Pooling,
    "heads": Head,
    "loss_balancing": LossBalancing,
    "curricula": Curriculum,
}
COMPONENTS = [(family, kind) for family in FAMILIES for kind in kinds(family)]
NAMED = ("classification", "multi_label", "ordinal")  # heads that must know their labels
SHAPE = EncoderShape(
    vocab_size=11, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16, max_positions=16, dropout=0.0
)


def problems_of(family: str, kind: str, **options) -> list[str]:
    """Return the problems of a component, each as `path: problem`."""
    return [
        f"{'.'.join(map(str, path))}: {what}"
        for path, what in components.problems(family, Component(kind=kind, options=options))
    ]


@pytest.mark.parametrize(
    ("family", "some"),
    [
        ("adapters", {"low_rank", "top"}),
        ("pooling", {"cls", "max", "mean"}),
        ("heads", {"classification", "cosine_similarity", "pair_classification"}),
        ("loss_balancing", {"total"}),
        ("curricula", {"hybrid", "sequential", "simultaneous"}),
    ],
)
def test_kinds_are_the_file_names_of_the_package(family, some):
    assert some <= set(kinds(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_package_of_a_family_documents_how_to_add_a_component(family):
    text = " ".join(importlib.import_module(f"mbert_cli.{family}").__doc__.split())
    (kind,) = re.findall(r"`\{kind: (\w+)\}`", text)
    assert f"`{kind}.py`" in text
    assert f"`{component_class(family, kind).__name__}`" in text
    assert f"`{FAMILIES[family].__name__}`" in text
    (test, *_), (page,) = re.findall(r"`tests/(\S+)`", text), re.findall(r"`(guide/\S+)`", text)
    source = (Path(__file__).parents[1] / test).read_text(encoding="utf-8")
    assert f'every("{family}")' in source or f'kinds("{family}")' in source
    users = (Path(components.__file__).parents[1] / page).read_text(encoding="utf-8")
    assert [each for each in kinds(family) if not re.search(rf"`{each}`|kind: {each}\b", users)] == []


@pytest.mark.parametrize(("family", "kind"), COMPONENTS)
def test_every_module_defines_the_class_of_its_name(family, kind):
    cls = component_class(family, kind)
    assert issubclass(cls, FAMILIES[family])
    assert cls.__name__.lower() == kind.replace("_", "")
    assert cls.__module__ == f"mbert_cli.{family}.{kind}"


@pytest.mark.parametrize(
    ("family", "kind", "name"),
    [
        ("adapters", "bitfit", "BitFit"),
        ("adapters", "ia3", "IA3"),
        ("adapters", "lora", "LoRA"),
        ("adapters", "low_rank", "LowRank"),
        ("adapters", "pal", "PAL"),
        ("loss_balancing", "famo", "FAMO"),
        ("loss_balancing", "gradnorm", "GradNorm"),
        ("loss_balancing", "pcgrad", "PCGrad"),
        ("pooling", "cls", "CLS"),
    ],
)
def test_class_names_keep_the_spelling_of_acronyms(family, kind, name):
    assert component_class(family, kind).__name__ == name


def module_with(*names: str) -> ModuleType:
    """Return a module `lora` that defines adapters of these names, and things that are not its adapter."""
    module = ModuleType("mbert_cli.adapters.lora")
    for name in names:
        setattr(module, name, type(name, (Adapter,), {"__module__": module.__name__}))
    module.LORA = type("LORA", (Adapter,), {"__module__": "elsewhere"})  # imported
    module.lora = type("lora", (), {"__module__": module.__name__})  # no adapter
    return module


def test_a_component_module_names_its_class():
    module = module_with("Lora", "LowRank")
    assert components.class_in(module, Adapter) is module.Lora


@pytest.mark.parametrize(
    ("names", "defined"), [((), "none"), (("LowRank",), "none"), (("_Lora",), "none"), (("LoRA", "Lora"), "LoRA, Lora")]
)
def test_a_component_module_defines_exactly_one_class_of_its_name(names, defined):
    with pytest.raises(AssertionError, match=f"lora: must define exactly one subclass of Adapter .* defines {defined}"):
        components.class_in(module_with(*names), Adapter)


@pytest.mark.parametrize(("family", "kind"), COMPONENTS)
def test_every_component_has_its_own_docstring(family, kind):
    cls = component_class(family, kind)
    assert cls.__doc__
    assert cls.__doc__ != FAMILIES[family].__doc__


@pytest.mark.parametrize(("family", "kind"), COMPONENTS)
def test_every_option_is_keyword_only_annotated_documented_and_has_a_default(family, kind):
    cls = component_class(family, kind)
    own = {} if cls.__init__ is torch.nn.Module.__init__ else inspect.signature(cls).parameters
    for name, parameter in own.items():
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert parameter.annotation is not parameter.empty, name
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default is not parameter.empty, name
            assert f"{name}:" in cls.__doc__


@pytest.mark.parametrize(("family", "kind"), [each for each in COMPONENTS if each[1] not in NAMED])
def test_every_component_can_be_built_with_its_defaults(family, kind):
    assert problems_of(family, kind) == []


@pytest.mark.parametrize(("family", "kind"), COMPONENTS)
def test_every_component_refuses_an_unknown_option_by_name(family, kind):
    found = problems_of(family, kind, no_such_option=1)
    assert any(line.startswith("no_such_option: is not a known key") for line in found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["os", "__init__", "../heads", "torch.nn", "Mean", "", "mbert_cli.pooling.mean"])
def test_a_kind_is_only_a_file_of_its_family(family, kind):
    (found,) = problems_of(family, kind)
    assert found.startswith(f"kind: is '{kind}'")


@pytest.mark.parametrize(
    ("family", "kind", "options", "expected"),
    [
        ("adapters", "lowrank", {}, "kind: is 'lowrank'; did you mean 'low_rank'? Known: "),
        ("adapters", "low_rank", {"rnk": 3}, "rnk: is not a known key; did you mean 'rank'? Known: activation, budget"),
        ("adapters", "low_rank", {"rank": "3"}, "rank: must be a whole number, but is '3'."),
        (
            "heads",
            "classification",
            {"num_classes": 2, "class_weights": "equal"},
            "class_weights: must be balanced, or a list of positive numbers, but is 'equal'.",
        ),
        (
            "heads",
            "classification",
            {"num_classes": 2, "class_weights": [1, 0]},
            "class_weights: must be balanced, or a list of positive numbers, but is [1, 0].",
        ),
        (
            "heads",
            "classification",
            {"num_classes": 2, "class_weights": [1]},
            "class_weights: must list a weight for each of the 2 classes, but lists 1.",
        ),
        (
            "heads",
            "pair_classification",
            {"positive_weight": 0},
            "positive_weight: must be balanced, or a positive number, but is 0.",
        ),
        (
            "heads",
            "pair_classification",
            {"positive_weight": math.nan},
            "positive_weight: must be balanced, or a positive number, but is nan.",
        ),
        ("adapters", "low_rank", {"rank": 3.0}, "rank: must be a whole number, but is 3.0; write 3."),
        ("adapters", "low_rank", {"rank": True}, "rank: must be a whole number, but is True."),
        ("adapters", "low_rank", {"rank": None}, "rank: must be a whole number, but is None."),
        ("adapters", "low_rank", {"rank": 0}, "rank: must be at least 1, but is 0."),
        ("adapters", "low_rank", {"activation": "tanh"}, "activation: must be 'none' or 'gelu', but is 'tanh'."),
        ("adapters", "low_rank", {"init_std": -1.0}, "init_std: must be at least 0, but is -1.0."),
        ("adapters", "low_rank", {"init_std": float("nan")}, "init_std: must be "),
        ("adapters", "low_rank", {"init_std": float("inf")}, "init_std: must be "),
        ("pooling", "cls", {"pooler": 1}, "pooler: must be true or false, but is 1."),
        ("pooling", "cls", {"pooler": "no"}, "pooler: must be true or false, but is 'no'."),
        ("heads", "cosine_similarity", {"scale": 0}, "scale: must be above min, 0, but is 0."),
        ("heads", "regression", {"max": 4, "scale": 5}, "scale: is 5, but max is 4; both are the largest label"),
        ("heads", "dual_similarity", {"min": 1, "max": 1}, "max: must be above min, 1, but is 1."),
        ("heads", "regression", {"max": "none"}, "max: must be a number, but is 'none'."),
        ("heads", "unbounded_regression", {"max": 5}, "max: is not a known key"),
        ("heads", "unbounded_regression", {"loss": "cross_entropy"}, "loss: must be 'squared_error' or '"),
        ("heads", "multi_label", {}, "labels: must list the labels; or the task's label must name a column for each"),
        ("heads", "multi_label", {"labels": ["a"]}, "labels: must name at least 2 classes, but names 1."),
        ("heads", "multi_label", {"labels": ["a", "b,c"]}, "delimiter: is ',', but the label 'b,c' contains it; "),
        (
            "heads",
            "multi_label",
            {"labels": ["a", "b"], "class_weights": "balanced"},
            "class_weights: is not a known key; did you mean 'positive_weight'?",
        ),
        ("heads", "ordinal", {"num_classes": 3}, "num_classes: is not a known key; did you mean 'labels'?"),
        ("heads", "multi_label", {"labels": ["a", "b"], "delimiter": ""}, "delimiter: must be a visible text or a "),
        ("heads", "multi_label", {"labels": ["a", "b"], "delimiter": "\t"}, "delimiter: must be a visible text or a "),
        (
            "heads",
            "multi_label",
            {"labels": ["a", "b"], "positive_weight": [1, 2, 3]},
            "positive_weight: must list a weight for each of the 2 labels, but lists 3.",
        ),
        (
            "heads",
            "multi_label",
            {"labels": ["a", "b"], "positive_weight": -1},
            "positive_weight: must be balanced, a positive number, or a list of positive numbers, but is -1.",
        ),
        ("heads", "ordinal", {}, "labels: must list the classes from the lowest to the highest."),
        (
            "heads",
            "ordinal",
            {"labels": ["a", "b"]},
            "labels: must list at least 3 ordered classes, but lists 2; for two, use classification.",
        ),
        ("heads", "ordinal", {"labels": ["a", "b", "a"]}, "labels: must be distinct, but 'a' appears twice."),
        ("heads", "ordinal", {"num_classes": 5}, "num_classes: is not a known key"),
        ("heads", "regression", {"min": 5}, "max: must be above min, 5, but is 5."),
        ("heads", "classification", {"labels": [0, 1]}, "labels: must be a list of texts, or a mapping of the file's "),
        ("heads", "classification", {"labels": {"0": True}}, "labels: must be a list of texts, or a mapping of the "),
        ("heads", "pair_classification", {"labels": ["a"]}, "labels: must name at least 2 classes, but names 1."),
        ("heads", "classification", {}, "num_classes: or labels must say which classes there are."),
        ("curricula", "hybrid", {"match": "first"}, "match: must be "),
        ("curricula", "sequential", {"freeze": "on"}, "freeze: must be true or false, but is 'on'."),
    ],
)  # fmt: skip
def test_a_wrong_option_is_reported_with_its_name(family, kind, options, expected):
    (found,) = problems_of(family, kind, **options)
    assert found.startswith(expected)


def test_all_wrong_options_are_reported_at_once():
    found = problems_of("adapters", "low_rank", rank=0, activation="x", init_sd=1.0)
    assert {line.split(":")[0] for line in found} == {"activation", "init_sd", "rank"}
    assert len(found) == 3


def test_an_integer_is_accepted_for_a_float():
    assert problems_of("heads", "cosine_similarity", scale=4) == []


def test_an_option_that_does_not_fit_the_encoder_is_refused_with_its_place(tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), ["adapters[0].rank=17"])
    shape = EncoderShape(hidden_size=16, num_heads=2)
    with pytest.raises(RecipeError) as error:
        meta_model(recipe, shape)
    assert (
        str(error.value) == "'adapters[0].rank=17': adapters[0].rank must be at most 16 (the hidden size), but is 17."
    )


def test_a_refused_option_of_a_file_has_its_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "encoder: {checkpoint: bert-base-uncased}\nadapters:\n- kind: top\n- kind: low_rank\n  rank: 769\n"
        "tasks: {a: {train: t, dev: d, text: x, label: y, head: {kind: classification, num_classes: 2}}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(str(path))
    with pytest.raises(RecipeError) as error:
        meta_model(recipe, EncoderShape())
    assert str(error.value) == f"{path}:5: adapters[1].rank must be at most 768 (the hidden size), but is 769."


TOY = '''
from typing import Annotated

import torch
from pydantic import Field

from mbert_cli.pooling import Pooling


class Toy(Pooling):
    """The sum of the tokens' powers."""

    def __init__(self, *, power: Annotated[int, Field(ge=1)] = 2) -> None:
        super().__init__()
        self.power = power

    def forward(self, x, layout):
        return torch.stack([(part ** self.power).sum(dim=0) for part in x.split(layout.lengths.tolist())])
'''


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Iterator[None]:
    """Add a pooling to the package: one new file."""
    import sys

    import mbert_cli.pooling

    (tmp_path / "poolings").mkdir()
    (tmp_path / "poolings" / "toy.py").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(mbert_cli.pooling, "__path__", [*mbert_cli.pooling.__path__, str(tmp_path / "poolings")])
    yield
    sys.modules.pop("mbert_cli.pooling.toy", None)
    vars(mbert_cli.pooling).pop("toy", None)


def test_a_new_pooling_is_one_file_and_one_line_of_a_recipe(toy, tiny_recipe):
    recipe = load_recipe(str(tiny_recipe), ["pooling={kind: toy, power: 3}", "adapters=[]"])
    torch.manual_seed(0)
    encoder = PackedEncoder(SHAPE)
    model = compose.build_model(recipe, SHAPE, encoder, seed=1).eval()
    ids, positions = torch.tensor([2, 5, 3, 2, 7, 8, 3]), torch.tensor([0, 1, 2, 0, 1, 2, 3])
    batch = Batch(ids, torch.zeros_like(ids), positions, Layout([3, 4]), ("mood",), {})
    h = encoder(ids, batch.token_types, positions, batch.layout)
    sentences = torch.stack([(h[:3] ** 3).sum(dim=0), (h[3:] ** 3).sum(dim=0)])
    linear = model.head("mood").linear
    expected = sentences @ linear.weight.T + linear.bias
    assert torch.allclose(model(batch)["mood"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("powr: 3", "pooling.powr is not a known key; did you mean 'power'? Known: kind, power."),
        ("power: 0", "pooling.power must be at least 1, but is 0."),
    ],
)
def test_the_options_of_a_new_pooling_are_checked(toy, tiny_recipe, option, expected):
    setting = f"pooling={{kind: toy, {option}}}"
    with pytest.raises(RecipeError) as error:
        load_recipe(str(tiny_recipe), [setting])
    assert error.value.problems == (f"'{setting}': {expected}",)


def test_without_its_file_the_new_pooling_is_unknown(tiny_recipe):
    with pytest.raises(RecipeError, match="pooling.kind is 'toy'"):
        load_recipe(str(tiny_recipe), ["pooling=toy"])


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_recipe_is_valid(name, monkeypatch):
    monkeypatch.delenv("MBERT_DATA", raising=False)
    recipe = load_recipe(name)
    assert recipe.tasks


def test_the_shipped_recipes_are_found():
    assert {"demo", "paper/hybrid_low_rank_top"} <= set(shipped_names())


def test_initial_values_are_a_function_of_the_seed(tiny_recipe):
    recipe = load_recipe(str(tiny_recipe))

    def initial(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        encoder = PackedEncoder(SHAPE)
        torch.rand(seed)  # changes the state of the global generator
        return compose.build_model(recipe, SHAPE, encoder, seed).state_dict()

    first, again, other = initial(1), initial(1), initial(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_initial_values_of_a_task_do_not_depend_on_the_other_tasks(tiny_recipe):
    torch.manual_seed(0)
    encoder = PackedEncoder(SHAPE)
    both = compose.build_model(load_recipe(str(tiny_recipe)), SHAPE, encoder, 1)
    one = compose.build_model(load_recipe(str(tiny_recipe), ["tasks.mood=null"]), SHAPE, encoder, 1)
    assert one.task_names == ("same", "near")
    for name in one.task_names:
        expected = both.task(name).state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in one.task(name).state_dict().items())


def test_building_does_not_change_the_global_generator(tiny_recipe):
    recipe = load_recipe(str(tiny_recipe))
    encoder = PackedEncoder(SHAPE)
    before = torch.get_rng_state()
    compose.build_model(recipe, SHAPE, encoder, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_refused_option_without_a_place_has_the_name_of_its_component():
    with pytest.raises(RecipeError, match=r"^low_rank.rank must be at most 8"):
        build("adapters", Component(kind="low_rank", options={"rank": 9}), SHAPE)


def test_tasks_start_from_different_values(tiny_recipe):
    settings = ["tasks.same.head={kind: cosine_similarity}", "adapters=[]"]
    model = compose.build_model(load_recipe(str(tiny_recipe), settings), SHAPE, PackedEncoder(SHAPE), 1)
    assert not torch.equal(model.head("same").first.weight, model.head("near").first.weight)
