"""`mbert init`."""

from pathlib import Path
from typing import Annotated

import typer

from mbert_cli.commands.options import Force, Quiet
from mbert_cli.commands.output import check_output, replacing
from mbert_cli.progress import Talk


def init(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Tables with headers: NAME.tsv, or NAME-train, NAME-dev."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recipe.")] = Path("recipe.yaml"),
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="COLUMN", help="The column of texts; twice for pairs.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", metavar="COLUMN", help="The column of labels.")] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a recipe for your own files: columns, labels and heads are guessed, and told.

    $ mbert init reviews.tsv questions.csv -o mine.yaml
    $ mbert init a.tsv --text title --text body --label kind

    A file is a task; NAME-train, NAME-dev and NAME-test are splits of one. Where there is no dev file, a tenth of the
    training rows is set aside in files of their own, beside the recipe.
    """
    from mbert_cli.new_recipe import new_tasks, recipe_text, split_off_dev

    talk = Talk(quiet)
    check_output(output, force)
    folder = output.parent
    tasks = new_tasks(files, text or [], label)
    for index, task in enumerate(tasks):
        talk.say(task.line())
        if "dev" not in task.files:
            for path in task.dev_split(folder).values():
                check_output(path, force)
            tasks[index] = split_off_dev(task, folder)
            talk.say(f"  set every tenth row aside: {tasks[index].files['train']} and {tasks[index].files['dev']}")
    with replacing(output) as file:
        file.write(recipe_text(tasks, folder))
    talk.say(f"wrote {output}: look at it, then check it with: mbert validate {output}")
    talk.say(f"and train it with: mbert train {output}")
