import pytest
import torch

from mbert_cli.encoder.dropout import Dropout, draw_key, dropout, kept, keyed, numbered

MASK = (1 << 64) - 1


def reference(key, row, columns, dropped):
    """The mask of one row, with Python's integers: splitmix64 of (key, row), then lowbias32."""
    z = (key + (row + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    mask = []
    for column in range(columns):
        x = (column // 32 * 16 + column % 16) * 0x9E3779B9 & 0xFFFFFFFF
        x ^= z & 0xFFFFFFFF
        x = (x ^ (x >> 16)) * 0x7FEB352D & 0xFFFFFFFF
        x = (x ^ (x >> 15)) * 0x846CA68B & 0xFFFFFFFF
        x ^= (x >> 16) ^ (z >> 32)
        mask.append((x >> 16 if column % 32 >= 16 else x & 0xFFFF) >= dropped)
    return mask


@pytest.mark.parametrize("columns", [1, 16, 17, 40, 96])
@pytest.mark.parametrize("key", [0, 1, (1 << 63) - 1])
def test_masks_are_the_hash_of_key_row_and_column(key, columns):
    rows = [0, 3, 70_000, 1 << 40]
    mask = kept(torch.tensor(rows), columns, key, 30_000)
    assert mask.tolist() == [reference(key, row, columns, 30_000) for row in rows]


def test_a_mask_does_not_depend_on_the_other_rows_and_columns():
    whole = kept(torch.arange(50), 96, 7, 20_000)
    assert torch.equal(kept(torch.arange(50)[20:30], 40, 7, 20_000), whole[20:30, :40])
    for first in (1, 16, 32, 47):
        assert torch.equal(kept(torch.arange(50), 40, 7, 20_000, first), whole[:, first : first + 40])


def test_each_seed_step_and_site_has_its_own_mask_and_a_second_pass_repeats_it():
    def masks(seed, step):
        with keyed(seed, step):
            return [tuple((dropout(torch.ones(4, 64), 0.5) != 0).flatten().tolist()) for _ in range(20)]

    passes = {(seed, step): masks(seed, step) for seed in (0, 1) for step in range(20)}
    assert len({mask for each in passes.values() for mask in each}) == 800
    assert masks(1, 7) == passes[1, 7]


def test_keys_do_not_depend_on_the_generator_and_leave_it_alone():
    torch.manual_seed(0)
    with keyed(3, 4):
        before, key = torch.get_rng_state(), draw_key()
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(1)
    with keyed(3, 4):
        assert draw_key() == key


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_masks_of_neighbouring_rows_columns_steps_and_sites_are_independent(p):
    def signs(step, site):
        with keyed(0, step):
            for _ in range(site):
                draw_key()
            return (dropout(torch.ones(2000, 96), p) != 0).double() - (1 - p)

    one = signs(0, 0)
    noise = 5 * p * (1 - p) / one.numel() ** 0.5
    for other in (signs(1, 0), signs(0, 1), one.roll(1, 0), one.roll(2, 0), one.roll(1, 1), one.roll(16, 1)):
        assert abs((one * other).mean().item()) < noise
    # Counts of rows and columns have the variance of independent values.
    assert one.sum(1).var().item() == pytest.approx(96 * p * (1 - p), rel=0.2)
    assert one.sum(0).var().item() == pytest.approx(2000 * p * (1 - p), rel=0.6)


def test_rows_with_numbers_draw_the_masks_of_their_places_in_the_whole_batch():
    x = torch.ones(30, 64)
    with keyed(0, 0):
        whole = dropout(x, 0.5)
    for part in (slice(0, 11), slice(11, 30)):
        with keyed(0, 0), numbered(lambda part=part: torch.arange(30)[part]):
            assert torch.equal(dropout(x[part], 0.5), whole[part])


@pytest.mark.gpu
def test_a_gpu_draws_the_masks_of_the_cpu():
    rows = torch.arange(50) * 7
    for key in (0, 1, (1 << 63) - 1):
        on_gpu = kept(rows.cuda(), 96, key, 20_000)
        assert torch.equal(on_gpu.cpu(), kept(rows, 96, key, 20_000))


@pytest.mark.parametrize("sites", [40, 70])
def test_sites_with_the_same_rows_draw_the_masks_of_their_keys(sites):
    """The keys of the rows of many sites are computed together; a second pass through some of them repeats them."""
    x, rows, others = torch.ones(6, 40), torch.arange(6) + 100, torch.arange(6)
    with keyed(3, 4):
        keys = [draw_key() for _ in range(sites)]
    with keyed(3, 4):
        for site in range(sites):
            numbers = rows if site % 3 else others
            with numbered(lambda numbers=numbers: numbers):
                mask = dropout(x, 0.5) != 0
            assert torch.equal(mask, kept(numbers, 40, keys[site], 1 << 15))


def test_row_numbers_must_be_those_of_the_matrix():
    with numbered(lambda: torch.arange(3)), pytest.raises(AssertionError, match="3 row numbers for 4 rows"):
        dropout(torch.ones(4, 8), 0.5)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_has_the_right_rate_and_preserves_the_mean(p):
    torch.manual_seed(0)
    out = dropout(torch.ones(1000, 1001), p)
    count = out.numel()
    assert abs((out == 0).double().mean().item() - p) < 5 * (p * (1 - p) / count) ** 0.5
    assert abs(out.double().mean().item() - 1) < 5 * (p / (1 - p) / count) ** 0.5


def test_masks_repeat_with_the_seed_and_differ_between_calls():
    x = torch.ones(64, 65)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x, 0.5))
    assert not torch.equal(first, second)


def test_neighbouring_values_are_dropped_independently():
    torch.manual_seed(0)
    kept = (dropout(torch.ones(400_000), 0.5) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert abs((kept[:-distance] * kept[distance:]).mean().item()) < 5 * 0.25 / 400_000**0.5


def test_gradient_is_the_mask():
    x = torch.randn(7, 9, requires_grad=True)
    torch.manual_seed(1)
    out = dropout(x, 0.25)
    out.sum().backward()
    assert torch.allclose(out, x * x.grad)


def test_dropout_is_the_identity_in_evaluation_and_at_rate_zero():
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert dropout(x, 0.0) is x
    assert torch.equal(dropout(x, 1.0), torch.zeros(5))
