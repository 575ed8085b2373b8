"""Deaths of a training, in this process or for real."""

from contextlib import contextmanager

import pytest

from mbert_cli.run_folder import RunFolder


@contextmanager
def dying_after(epoch, step=0):
    """Within the block a training dies as soon as it has saved the state of `step` steps after `epoch`."""
    commit = RunFolder.commit_state

    def die(self, epoch_now, step_now, *rest):
        commit(self, epoch_now, step_now, *rest)
        if (epoch_now, step_now) == (epoch, step):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "commit_state", die)
        with pytest.raises(KeyboardInterrupt):
            yield
