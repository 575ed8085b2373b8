"""The formulas of the throughput model `scale_model.py`. All times are in seconds, all sizes in bytes."""

import math
from dataclasses import dataclass
from statistics import NormalDist

FP32 = 4  # bytes of a gradient value; gradients are added in fp32
MOST_EXTRA_ROWS = 8192 - 1  # rows that a part computes at each of its ends without writing them
_GRID = 4000  # points of the integral in `expected_maximum`


def flops(products):
    """Return the floating-point operations of matrix products: 2 * rows * inner * columns for each.

    Source: a product [rows, inner] @ [inner, columns] has rows * inner * columns multiplications and as many additions.
    For a full step this is 6 * parameters * tokens (Kaplan et al. 2020, "Scaling Laws", section 2.1).

    Args:
        products: how often each (rows, inner, columns) is computed; see `limit.step`.
    """
    return sum(2 * rows * inner * columns * count for (rows, inner, columns), count in products.items())


def gradient_bytes(dense, words=0, width=0):
    """Return the bytes of one exchange: 4 * (dense parameters that train + words in the batch * embedding width).

    Source: `mbert_cli.training.gradient_sum`. With a frozen encoder only adapters and heads train, and words is 0.
    """
    return FP32 * (dense + words * width)


def all_reduce(size, count, bandwidth, latency):
    """Return the time of a ring all-reduce: 2 (N - 1) / N * size / bandwidth + 2 (N - 1) * latency.

    Source: Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations". NCCL may use
    trees, whose latency grows with log N; then this formula overestimates the latency.

    Args:
        size: bytes of the tensor.
        count: number of processes, N.
        bandwidth: bytes per second that a process sends to its neighbour.
        latency: time of one message without content.
    """
    return 2 * (count - 1) / count * size / bandwidth + 2 * (count - 1) * latency


def ring_constants(small, large, size, count):
    """Return (bandwidth, latency) from the measured times of an empty all-reduce and of a large one.

    They solve `all_reduce` for two sizes: 0 and `size`.
    """
    return 2 * (count - 1) / count * size / max(large - small, 1e-9), small / (2 * (count - 1))


def expected_maximum(count):
    """Return the expected maximum of `count` independent standard normal values.

    E[max] is the integral of x d(Phi(x)^N). Source: David & Nagaraja 2003, "Order Statistics", section 3.1. The slowest
    of N processes determines the time of a step, so noise with standard deviation s costs s * E[max].
    """
    normal, step = NormalDist(), 16 / _GRID
    edges = [-8 + step * index for index in range(_GRID + 1)]
    powers = [normal.cdf(edge) ** count for edge in edges]
    return sum((edges[i] + step / 2) * (powers[i + 1] - powers[i]) for i in range(_GRID))


def imbalance(batches, count):
    """Return the mean over batches of the most tokens of a process, divided by the mean tokens of all processes.

    The rows are dealt by `mbert_cli.training.portion.deal`. A process without a row of a task repeats a short one, and
    its tokens are counted.

    Args:
        batches: for each batch and task, the numbers of tokens of the rows.
        count: number of processes.
    """
    import numpy as np

    from mbert_cli.training.portion import deal

    ratios = []
    for batch in batches:
        lengths = {task: np.asarray(each) for task, each in batch.items()}
        dealt = [deal(lengths, rank, count)[0] for rank in range(count)]
        tokens = [sum(int(lengths[task][places].sum()) for task, places in own.items()) for own in dealt]
        ratios.append(max(tokens) * count / sum(int(each.sum()) for each in lengths.values()))
    return float(np.mean(ratios))


def sharing(count, cores, contention):
    """Return how many times as long each process computes if `count` processes of one thread share the cores.

    Args:
        count: number of processes.
        cores: number of cores.
        contention: measured slow-down of a process while one process runs on each core; memory and caches are shared.
    """
    return 1.0 if count == 1 else contention * max(1, count / cores)


@dataclass(frozen=True)
class Step:
    """The constants of a training step.

    Args:
        fixed: time that does not depend on the tokens: clipping and the optimizer, in every process.
        per_token: time of a token.
        tokens: tokens of the global batch.
        rows: rows of the global batch.
        packing: time to pack a row; every process also packs the whole batch.
        size: bytes of the exchange.
        noise: standard deviation of the computation's time, divided by the time.
        floor: the least time of the computation; on a GPU, the time in which the CPU launches the kernels.
    """

    fixed: float
    per_token: float
    tokens: float
    rows: int
    packing: float
    size: float
    noise: float = 0.0
    floor: float = 0.0

    def parts(self, count, bandwidth=math.inf, latency=0.0, imbalance=1.0, slowdown=1.0):
        """Return the times of the parts of a step with `count` processes; their sum is the time of the step."""
        balanced = max(self.floor, self.per_token * self.tokens / count)
        longest = max(self.floor, self.per_token * self.tokens / count * imbalance)
        alone = count == 1
        return {
            "computation": balanced * slowdown,
            "fixed work in every process": (self.fixed + (0 if alone else self.rows * self.packing)) * slowdown,
            "stragglers": (longest - balanced + longest * self.noise * expected_maximum(count)) * slowdown,
            # The losses are exchanged before the backward pass, the gradients after it.
            "exchange": 0.0
            if alone
            else all_reduce(self.size, count, bandwidth, latency) + all_reduce(0, count, bandwidth, latency),
        }


def best_interval(save, mtbf):
    """Return the best time between two saved states: sqrt(2 * save * MTBF).

    Source: Young 1974, "A first order approximation to the optimum checkpoint interval"; Daly 2006 refines it.

    Args:
        save: time to save a state.
        mtbf: mean time between failures of the whole run: that of a machine, divided by the number of machines.
    """
    return math.sqrt(2 * save * mtbf)


def lost_share(save, interval, restart, mtbf):
    """Return the share of the time that failures cost: save / interval + (interval / 2 + restart) / MTBF.

    After a failure, half an interval on average is computed again. Source: Young 1974, to first order.
    """
    return min(1.0, save / interval + (interval / 2 + restart) / mtbf)


@dataclass(frozen=True)
class Prediction:
    """The constants of a prediction.

    Args:
        row: time to compute a row, with tokenisation and output.
        hash: bytes per second of the hash of the input.
        count: time to count a row.
        skip: time to skip a row before the part.
        start: time to start a process and load the model.
        input_row: bytes of an input row.
        output_row: bytes of an output row.
        join: bytes per second of `mbert join`.
        storage: bytes per second that the shared storage delivers to all processes together.
    """

    row: float
    hash: float
    count: float
    skip: float
    start: float
    input_row: float
    output_row: float
    join: float
    storage: float

    def of_parts(self, rows, count):
        """Return the times of the parts of `--shard` with one input file; their sum is the time until it is joined.

        Every part reads the whole input for its hash and to count its rows, and the last part skips all rows before it.
        If the shared storage cannot deliver these bytes in that time, the rest is waiting.
        """
        size = rows * self.input_row
        extra = 2 * MOST_EXTRA_ROWS if count > 1 else 0
        times = {
            "start": self.start,
            "computation": (rows / count + extra) * self.row,
            "hash of the whole input": size / self.hash,
        }
        read = size * count
        if count > 1:
            times["counting all rows"] = rows * self.count
            times["skipping the rows before"] = rows * (count - 1) / count * self.skip
            read += size * count + size * (count - 1) / 2  # on average half of the rows are skipped
            times["join"] = rows * self.output_row / self.join
        reading = sum(time for name, time in times.items() if name not in ("start", "computation", "join"))
        times["waiting for storage"] = max(0.0, read / self.storage - reading)
        return times

    def of_files(self, rows, count, files):
        """Return the same if the rows are in many files of equal size, and each process gets its own files.

        The process with the most files determines the time. A process that gets one file after the other starts once.
        """
        own = rows / files * math.ceil(files / count)
        size = own * self.input_row
        times = {"start": self.start, "computation": own * self.row, "hash of its files": size / self.hash}
        # Each file is read for its hash, and again while its rows are computed.
        read = 2 * rows * self.input_row
        times["waiting for storage"] = max(0.0, read / self.storage - times["hash of its files"] - times["computation"])
        return times


def largest(times):
    """Return the name of the part that takes the most time, without the computation that has to be done anyway."""
    return max((name for name in times if name != "computation"), key=times.__getitem__)
