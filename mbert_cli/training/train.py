"""Trains a recipe: one model, or an ensemble."""

from mbert_cli.errors import UsageError
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.fit import fit
from mbert_cli.training.members import fit_members
from mbert_cli.training.options import RunOptions


def train(recipe: Recipe, folder: RunFolder, options: RunOptions) -> EpochRecord:
    """Train the model, or the members of the ensemble, that a recipe describes.

    Arguments, result and errors are those of `fit` and `fit_members`.

    Raises:
        UsageError: `jobs` is above 1, but the recipe is not an ensemble; or several processes train an ensemble.
    """
    if recipe.training.members > 1 and not options.processes.is_alone:
        raise UsageError("the members of an ensemble train in one process each; start mbert train with --jobs instead.")
    if recipe.training.members > 1:
        return fit_members(recipe, folder, options)
    if options.jobs > 1:
        raise UsageError("--jobs is for ensembles, and training.members is 1; mbert sweep trains several runs.")
    return fit(recipe, folder, options)
