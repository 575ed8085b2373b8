"""TensorBoard: event files."""

from collections.abc import Mapping

from mbert_cli.tracking import Ending, TrackedRun, Tracker


class TensorBoard(Tracker):
    """Writes event files, which `tensorboard --logdir` shows."""

    module = "tensorboard"
    package = "tensorboard"

    def start(self, run: TrackedRun) -> str:
        """Open an event file; a resumed run adds one to those of the same run."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run.folder))
        if run.id is None:
            indented = "".join(f"    {line}\n" for line in run.recipe.splitlines())  # a code block of Markdown
            self._writer.add_text("recipe", f"{run.path}\n\n{indented}", 0)
            self._writer.flush()
        return run.name

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars, at once: a process that is killed later loses none."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, ending: Ending, scores: Mapping[str, float], step: int) -> None:
        """Write the scores of the kept model, and close the file."""
        if scores:
            self.log(scores, step)
        self._writer.close()
