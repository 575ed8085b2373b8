"""Where the time of mbert's training steps goes, operation by operation, by PyTorch's profiler."""

import tempfile
from pathlib import Path

import contest
from ours import MINILM, load, parts_of, recipe_of, timed_steps
from workload import course_steps


def main():
    """Profile the steps of one contender of train_speed.py."""
    import torch

    parser = contest.parser(__doc__, rounds=1)
    parser.add_argument("name", nargs="?", default="full_bf16", help="as train_speed.py names it")
    parser.add_argument("--steps", type=contest.positive, default=8)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _, drawn = course_steps({"warm_up": 4, "steps": options.steps})
    method, precision, kernels = parts_of(options.name)
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

    def steps(_):
        for index, step in enumerate(drawn):
            if index == 4:
                profile.start()
            yield step
        profile.stop()

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        run.mkdir()
        timed_steps(load(recipe_of(method, MINILM, rank=96), Path(folder)), run, precision, steps, 4, kernels)
    found = sorted(profile.key_averages(), key=lambda each: -each.self_cpu_time_total)
    table = contest.table(f"{options.name}: ms of a step", "", "ms", "calls")
    for each in found[:25]:
        table.add_row(
            each.key[:48], f"{each.self_cpu_time_total / 1000 / options.steps:.1f}", f"{each.count / options.steps:.0f}"
        )
    contest.show(table)


if __name__ == "__main__":
    main()
