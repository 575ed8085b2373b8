"""The contents of the files that members of an ensemble were trained with, and whether they are still the same.

A finished member has no state. So state/members.json of the ensemble keeps, for each member, the hashes of its data and
of its initial encoder. They show that files which were moved are the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mbert_cli.encoder.location import find_encoder, weights_sha256
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.model.components import problems
from mbert_cli.model.ranks import with_ranks
from mbert_cli.recipe.differences import differences, flat, result_spec
from mbert_cli.recipe.reader import load
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.atomic import read_json
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console
from mbert_cli.training.datasets import TrainingExamples, tokenise_examples
from mbert_cli.training.fingerprint import moved_files

MEMBERS_FILE = "members.json"
_HASHES = ("data", "encoder_sha256")


def recorded_contents(folder: RunFolder, member: RunFolder) -> dict[str, Any] | None:
    """Return the contents that a member was trained with, or None if they were not recorded.

    Args:
        folder: the run folder of the ensemble.
        member: the run folder of the member.
    """
    for state in member.state_folders():
        try:
            fingerprint = read_json(state / "state.json")["origin"]
            return {key: fingerprint[key] for key in _HASHES}
        except (CheckpointError, KeyError, TypeError):
            continue  # another state may be readable; `read_state` reports the damage
    for state in folder.state_folders():
        try:
            contents = read_json(state / MEMBERS_FILE)["contents"][int(member.path.name) - 1]
            return {key: contents[key] for key in _HASHES}
        except (CheckpointError, KeyError, TypeError, IndexError):
            continue
    return None


def check_unchanged(
    recipe: Recipe,
    folder: RunFolder,
    members: Sequence[tuple[Recipe, RunFolder]],
    shape: EncoderShape,
    examples: TrainingExamples,
) -> None:
    """Check that an ensemble and its members were started with the same settings and the same file contents.

    Args:
        recipe: the recipe of the ensemble now.
        folder: the run folder of the ensemble.
        members: recipe and run folder of each member.
        shape: sizes of the encoder.
        examples: what `read_training_examples` returns now.

    Raises:
        UsageError: something differs.
        RecipeError: the recipe of an earlier start cannot be read.
        MbertError: the encoder or its tokenizer cannot be used.
    """
    recorded = [recorded_contents(folder, place) for _, place in members]
    known = [each for each in recorded if each is not None]
    now = _contents(recipe, examples, shape) if known else {}
    # The ensemble has no contents of its own, so it is compared with those of the first member that has any.
    places = [(recipe, folder, known[0] if known else None)]
    places += [(own, place, then) for (own, place), then in zip(members, recorded, strict=True)]
    for own, place, then in places:
        if place.recipe_file.exists():
            earlier = with_ranks(load(place.recipe_file, [], problems), shape)
            changed = _changes(_described(earlier, then), _described(own, None if then is None else now))
            if changed:
                raise UsageError(
                    f"{place.path}: cannot resume a changed run: {'; '.join(changed[:5])}. Undo the change; or keep "
                    "the trained members with --allow-drift; or start again with --force."
                )


def _contents(recipe: Recipe, examples: TrainingExamples, shape: EncoderShape) -> dict[str, Any]:
    """Return the hashes of the tokenised data and of the encoder's weights, as `fingerprint_of` has them."""
    data, _ = tokenise_examples(recipe, examples, shape, Console(quiet=True))
    splits = {"train": data.train, "dev": data.dev}
    encoder = find_encoder(recipe.encoder.checkpoint, recipe.encoder.revision).folder
    return {
        "data": {split: {task: each.sha256() for task, each in tasks.items()} for split, tasks in splits.items()},
        "encoder_sha256": weights_sha256(encoder),
    }


def _described(recipe: Recipe, contents: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return everything that affects a member's result; the number of members does not."""
    values = flat({**result_spec(recipe), **(contents or {})})
    values.pop("training.members")
    return values


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    for key in moved_files(before, after) if "encoder_sha256" in after else ():
        before.pop(key, None)
        after.pop(key, None)
    return differences(before, after)
