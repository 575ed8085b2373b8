"""The time of mbert's training steps by operation, from PyTorch's profiler."""

import tempfile
from pathlib import Path

import contest
from encoders import HELP, checkpoint_folder
from ours import load, parts_of, recipe_of, timed_steps
from workload import BATCH_SIZE, course_steps

STEP = "step"


def main():
    """Profile the steps of one contender of train_speed.py."""
    import torch

    parser = contest.parser(__doc__, rounds=1)
    parser.add_argument("name", nargs="?", default="full_bf16", help="a contender of train_speed.py")
    parser.add_argument("--encoder", default="minilm", help=HELP)
    parser.add_argument("--steps", type=contest.positive, default=8)
    parser.add_argument("--batch-size", type=contest.positive, default=BATCH_SIZE, help="rows of each task in a step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _, drawn = course_steps({"warm_up": 4, "steps": options.steps, "batch_size": options.batch_size})
    method, precision, kernels = parts_of(options.name)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if options.device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    profile = torch.profiler.profile(activities=activities)

    def steps(_):
        for index, step in enumerate(drawn):
            if index == 4:
                profile.start()
            with torch.profiler.record_function(STEP):
                yield step
        profile.stop()

    with tempfile.TemporaryDirectory() as folder:
        run, weights = Path(folder, "run"), Path(folder, "encoder")
        for each in (run, weights):
            each.mkdir()
        encoder = str(checkpoint_folder(options.encoder, weights))
        recipe = load(recipe_of(method, encoder, rank=96), Path(folder))
        measured = timed_steps(recipe, run, precision, steps, 4, kernels, options.device)
    found = profile.key_averages()
    profiled = sum(each.count for each in found if each.key == STEP)
    assert profiled == options.steps, f"{profiled} steps of {options.steps} were profiled"
    contest.write_json(options.json, {"steps": profiled, "tokens": sum(measured.tokens), "work": measured.work})
    contest.show(table_of(f"{options.name}: ms of a step on the CPU", found, "self_cpu_time_total", options.steps))
    if options.device == "cuda":
        contest.show(table_of("on the GPU", found, "self_device_time_total", options.steps))


def table_of(title, found, time, steps):
    """Return the table of the operations that take longest, with the sum over all of them."""
    shown = contest.table(title, "", "ms", "calls")
    for each in sorted(found, key=lambda each: -getattr(each, time))[:25]:
        shown.add_row(each.key[:48], f"{getattr(each, time) / 1000 / steps:.2f}", f"{each.count / steps:.0f}")
    shown.add_row("all", f"{sum(getattr(each, time) for each in found) / 1000 / steps:.2f}", "")
    return shown


if __name__ == "__main__":
    main()
