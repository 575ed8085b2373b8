"""On CPUs without instructions for bf16 products, products are computed in fp32 and rounded to bf16."""

import pytest
import torch
from components import built, every
from plain_bert import LENGTHS, SHAPE, stirred, stream
from torch.utils._python_dispatch import TorchDispatchMode

from mbert_cli.encoder import kernels
from mbert_cli.encoder.kernels import bf16_products
from mbert_cli.encoder.packed_encoder import PackedEncoder

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "_grouped_mm")


class InBf16(TorchDispatchMode):
    """Records the names of the matrix products in bf16."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name in PRODUCTS and any(isinstance(each, torch.Tensor) and each.dtype == torch.bfloat16 for each in args):
            self.found.append(name)
        return operation(*args, **(kwargs or {}))


@pytest.fixture
def slow_products(monkeypatch):
    monkeypatch.setattr(bf16_products, "_are_fast", lambda: False)


def factors(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator).bfloat16() for shape in shapes]


def test_a_product_is_rounded_once(slow_products):
    x, y, bias = factors((33, 20), (20, 48), (48,))
    out = torch.empty(33, 48, dtype=torch.bfloat16)
    assert bf16_products.mm(x, y, out) is out
    assert torch.equal(out, (x.float() @ y.float()).bfloat16())
    assert torch.equal(bf16_products.matmul(x, y), out)
    assert torch.equal(bf16_products.addmm(bias, x, y, out), (bias.float() + x.float() @ y.float()).bfloat16())


def test_a_grouped_product_is_rounded_once(slow_products):
    x, y = factors((48, 16), (3, 16, 32))
    ends = torch.tensor([16, 16, 48], dtype=torch.int32)
    expected = torch.cat([x[:16].float() @ y[0].float(), x[16:].float() @ y[2].float()]).bfloat16()
    assert torch.equal(bf16_products.grouped_mm(x, y, ends), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_data_types_are_multiplied_as_they_are(slow_products, dtype):
    x, y = (each.to(dtype) for each in factors((5, 4), (4, 3)))
    assert bf16_products.mm(x, y, torch.empty(5, 3, dtype=dtype)).dtype == bf16_products.matmul(x, y).dtype == dtype


@every("adapters")
@pytest.mark.parametrize("name", ["torch", "fused"])
def test_a_step_computes_no_product_in_bf16(slow_products, name, kind, options):
    encoder = stirred(PackedEncoder(SHAPE))
    adapters = [[built("adapters", kind, options, SHAPE)] for _ in range(3)]
    for each in adapters:
        each[0].start_from(encoder)
    with kernels.using(name), InBf16() as products:
        with torch.autocast("cpu", torch.bfloat16):
            states = encoder(*stream(), [*adapters, *[[]] * (len(stream().layout.segment_tokens) - 3)])
        states.float().pow(2).sum().backward()
    assert len(states) == sum(LENGTHS)
    assert products.found == []


def test_products_are_slow_if_pytorch_was_built_without_onednn(monkeypatch):
    class NoOperations:
        def __getattr__(self, name):
            raise AttributeError(f"'_OpNamespace' 'mkldnn' object has no attribute '{name}'")

    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    monkeypatch.setattr(torch.ops, "mkldnn", NoOperations(), raising=False)
    bf16_products._are_fast.cache_clear()
    try:
        assert bf16_products.are_slow(torch.device("cpu"), torch.bfloat16)
    finally:
        bf16_products._are_fast.cache_clear()
