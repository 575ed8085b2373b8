import math

import pytest
from pydantic import TypeAdapter, ValidationError
from typer.exceptions import TyperException

from mbert_cli.cli import app
from mbert_cli.commands.mistakes import mistake
from mbert_cli.errors import RecipeError
from mbert_cli.model.components import component_class, kinds, load_recipe, options_model
from mbert_cli.recipe.describing import CardSection, ReferenceSection
from mbert_cli.recipe.sections import EncoderSection, ShapeSection, TaskSection, TrainingSection
from mbert_cli.recipe.validation_message import validation_message
from mbert_cli.sweeps.plan import PlanSection, RowSection

FAMILIES = ("adapters", "pooling", "heads", "loss_balancing", "curricula")
SECTIONS = {
    model.__name__: model
    for model in (
        CardSection,
        EncoderSection,
        PlanSection,
        ReferenceSection,
        RowSection,
        ShapeSection,
        TaskSection,
        TrainingSection,
    )
}
COMPONENTS = {
    f"{family}.{kind}": options_model(component_class(family, kind)) for family in FAMILIES for kind in kinds(family)
}
MODELS = SECTIONS | COMPONENTS
# One value of each type that YAML has, and values that are too small, too large, too short or too long.
VALUES = (None, True, "", "x", "x" * 300, 0, -1, 1.5, -5.5, math.nan, math.inf, 10**30, [], [None], ["a"] * 5, {})
VALUES += ({"a": 1}, {"a": math.nan}, {"a": 2.0}, {"a": [1]})
FIELDS = [(name, field) for name, model in MODELS.items() for field in model.model_fields]

MESSAGES = {
    "bool_type": ("TrainingSection", "freeze_encoder", 1, "must be true or false, but is 1"),
    "dict_type": ("TaskSection", "columns", ["a"], "must contain keys and values, but is ['a']"),
    "finite_number": ("TrainingSection", "learning_rate", math.inf, "must be a finite number, but is inf"),
    "float_type": ("TrainingSection", "warmup", "0.1", "must be a number, but is '0.1'"),
    "greater_than": ("TrainingSection", "layer_decay", 0.0, "must be greater than 0, but is 0.0"),
    "greater_than_equal": ("TrainingSection", "epochs", 0, "must be at least 1, but is 0"),
    "int_type": ("TrainingSection", "epochs", 2.5, "must be a whole number, but is 2.5"),
    "less_than": ("TrainingSection", "seed", 2**63, f"must be less than {2**63}, but is {2**63}"),
    "less_than_equal": ("ReferenceSection", "scores", {"a": 1.5}, "must be at most 1, but is 1.5"),
    "list_type": ("CardSection", "datasets", "mrpc", "must be a list, but is 'mrpc'"),
    "literal_error": (
        "TrainingSection", "schedule", "cosinus", "must be 'constant', 'linear' or 'cosine', but is 'cosinus'",
    ),
    "missing": ("TaskSection", "train", ..., "is missing"),
    "model_type": ("EncoderSection", "shape", 3, "must contain keys and values, but is 3"),
    "string_pattern_mismatch": (
        "EncoderSection", "sha256", "abc", "must match the pattern ^[0-9a-f]{64}$, but is 'abc'",
    ),
    "string_too_long": ("RowSection", "group", "x" * 201, f"must have at most 200 characters, but is '{'x' * 199}..."),
    "string_too_short": ("PlanSection", "title", "", "is empty"),
    "string_type": ("PlanSection", "title", 3, "must be a string, but is 3"),
    "too_long": ("TaskSection", "text", ["a", "b", "c"], "must have at most 2 items, but has 3"),
    "too_short": ("TaskSection", "text", [], "is empty"),
    "value_error": (
        "EncoderSection", "reinitialise", -1, "must be a number of layers, or all, but is -1",
    ),
}  # fmt: skip


def errors_of(model, field, value):
    """Return pydantic's errors for one field; `...` leaves the field out."""
    try:
        MODELS[model].model_validate({} if value is ... else {field: value})
    except ValidationError as error:
        return [each for each in error.errors() if each["loc"][0] == field]
    return []


@pytest.mark.parametrize("kind", MESSAGES)
def test_each_type_of_error_has_a_message_of_its_own(kind):
    model, field, value, message = MESSAGES[kind]
    (error,) = errors_of(model, field, value)
    assert error["type"] == kind
    assert validation_message(error) == message


def test_no_recipe_raises_a_type_of_error_that_has_no_message():
    raised = {
        error["type"] for name, field in FIELDS for value in (..., *VALUES) for error in errors_of(name, field, value)
    }
    # Unknown keys are reported with the nearest known one, before pydantic sees them; heads are always components.
    assert raised - {"extra_forbidden"} == set(MESSAGES)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, "many", "must be a whole number, but is 'many'"),
        (int, 1.5, "must be a whole number, but is 1.5"),
        (float, "many", "must be a number, but is 'many'"),
        (bool, "perhaps", "must be true or false, but is 'perhaps'"),
    ],
)
def test_values_on_the_command_line_and_in_json_are_converted_or_refused(annotation, value, message):
    with pytest.raises(ValidationError) as error:
        TypeAdapter(annotation).validate_python(value)
    assert validation_message(error.value.errors()[0]) == message


def test_an_unknown_type_of_error_has_pydantics_message():
    with pytest.raises(ValidationError) as error:
        TypeAdapter(complex).validate_python("many")
    found = error.value.errors()[0]
    assert validation_message(found) == f"is not valid: {found['msg']}"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.learning_rate=1,5e-5", "must be a number, but is '1,5e-5'; write a decimal point: 1.5e-5"),
        ("training.max_steps=10,000", "must be a whole number, but is '10,000'; write 10000"),
        ("training={warmup: 0,25}", "is not a known key; write a decimal point, not a comma, before 25."),
        ("tasks.mood.head={kind: classification, num_classes: 3, focal: 1,5e0}", "not a comma, before 5e0."),
    ],
)
def test_a_comma_in_a_number_is_reported_with_the_number(tiny_recipe, setting, message):
    with pytest.raises(RecipeError) as refusal:
        load_recipe(str(tiny_recipe), [setting])
    assert any(message in problem for problem in refusal.value.problems)


def test_a_comma_in_the_number_of_an_option_is_reported():
    with pytest.raises(TyperException) as refusal:
        app(["train", "--limit", "1,000"], prog_name="mbert", standalone_mode=False)
    assert "--limit must be a whole number, but is '1,000'; write 1000." in mistake(refusal.value)
