"""The Triton kernels of segments give the same results as PyTorch operations, in Triton's interpreter or on a GPU."""

import plain_segments
import pytest
import torch

pytest.importorskip("triton")
segments = pytest.importorskip("mbert_cli.encoder.kernels.triton.segments")
ON_GPU = torch.cuda.is_available()
pytestmark = [pytest.mark.gpu] if ON_GPU else []
DEVICE = "cuda" if ON_GPU else "cpu"
EXACT = torch.float32 if ON_GPU else torch.float64
BOUND = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.01}
ENDS = {
    "one token": [1],
    "one token for each": [1, 2, 3],
    "empty segments": [0, 0, 19, 19, 40, 40],
    "512 tokens": [512],
    "no multiple of a tile": [7, 130, 131],
}


def values(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE)


def drawn(ends, columns, dtype, more):
    """Return z, biases, a residual, dy and the ends, with `more` rows after the last segment that must not be read."""
    matrices = [values(ends[-1] + more, columns, seed=seed).to(dtype) for seed in range(3)]
    for each in matrices:
        each[ends[-1] :] = torch.nan
    z, residual, dy = matrices
    return (
        z,
        values(len(ends), columns, seed=3).to(dtype),
        residual,
        dy,
        torch.tensor(ends, dtype=torch.int32).to(DEVICE),
    )


def assert_close(ours, exact, dtype):
    """Compare with results in fp64."""
    assert (ours.double() - exact).norm() <= BOUND[dtype] * exact.norm()


@pytest.mark.parametrize(
    ("name", "columns", "more", "dtype"),
    [
        ("one token", 40, 0, EXACT),
        ("one token for each", 136, 5, EXACT),
        ("empty segments", 136, 5, EXACT),
        ("512 tokens", 40, 0, torch.float32),
        ("no multiple of a tile", 136, 0, EXACT),
        ("no multiple of a tile", 40, 5, torch.bfloat16),
    ],
)
def test_sums_gelu_and_derivatives_equal_those_of_pytorch(name, columns, more, dtype):
    ends = ENDS[name]
    z, bias, residual, dy, on_device = drawn(ends, columns, dtype, more)
    inside = slice(0, ends[-1])
    exact_z, exact_bias, exact_residual, exact_dy = (each.double() for each in (z, bias, residual, dy))
    for has_gelu in (False, True):
        rest = None if has_gelu else residual
        exact = plain_segments.add(exact_z, exact_bias, on_device, None if has_gelu else exact_residual, has_gelu)
        before = z.clone()
        y = segments.add(before, bias, on_device, rest, has_gelu)
        assert_close(y[inside], exact[inside], dtype)
        assert has_gelu == torch.equal(before[inside], z[inside])
        exact_dz, exact_dbias = plain_segments.add_backward(
            exact_dy, exact_z if has_gelu else None, exact_bias, on_device
        )
        dz, dbias = segments.add_backward(dy.clone(), z if has_gelu else None, bias, on_device)
        assert_close(dz[inside], exact_dz[inside], dtype)
        assert_close(dbias, exact_dbias, min(dtype, torch.float32, key=lambda each: BOUND[each]))
        assert dbias.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        sizes = torch.tensor(ends).diff(prepend=torch.tensor([0]))
        assert not dbias[(sizes == 0).to(DEVICE)].any()


def test_rows_of_no_segment_keep_their_values():
    z, bias, residual, dy, ends = drawn([3, 5], 40, torch.float32, 30)
    for each in (z, dy):
        each[5:] = 7
    segments.add(z, bias, ends, residual)
    segments.add_backward(dy, z, bias, ends)
    assert (z[5:] == 7).all()
    assert (dy[5:] == 7).all()


def test_other_ends_in_the_same_memory_are_read():
    """A CUDA graph is replayed with other ends."""
    z, bias, _, dy, ends = drawn([10, 60, 70], 40, torch.float64, 0)
    segments.add(z.clone(), bias, ends)
    ends.copy_(torch.tensor([50, 50, 70]))
    torch.testing.assert_close(segments.add(z.clone(), bias, ends), plain_segments.add(z, bias, ends))
    torch.testing.assert_close(
        segments.add_backward(dy, None, bias, ends), plain_segments.add_backward(dy, None, bias, ends)
    )
