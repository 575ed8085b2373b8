"""Translate every Triton kernel to Triton's intermediate code for a GPU, as the first step of compilation does.

Run it without TRITON_INTERPRET. It needs no GPU. The interpreter accepts code that the compiler refuses.
"""

import triton.language as tl
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend

from mbert_cli.encoder.kernels.triton import (
    add_dropout,
    add_gelu,
    add_norm,
    attention,
    attention_backward,
    embedding,
    segments,
)

ROWS = {"real": tl.float32, "tile": 4, "width": 512}
HEAD = {"real": tl.float32, "size": 32, "wide": 32, "tile": 64}
DROPOUT = ("key", "numbers")
KERNELS = [  # each with its constants, and the arguments that may be None
    (add_dropout._add_drop, ROWS, ("bias", "residual", *DROPOUT)),
    (add_dropout._add_drop_backward, ROWS, ("dbias", *DROPOUT)),
    (add_gelu._add_gelu, ROWS, ()),
    (add_gelu._add_gelu_backward, ROWS, ("dbias",)),
    (add_norm._add_norm, ROWS, ("bias", "residual", "beta", "states", "scales", *DROPOUT)),
    (add_norm._add_norm_backward, ROWS, ("beside", "sums", *DROPOUT)),
    (embedding._add_rows, ROWS, ()),
    (segments._add_of_segments, {**ROWS, "gelu": True}, ("residual",)),
    (segments._add_of_segments_backward, ROWS, ("z", "dz")),
    (attention.attention, HEAD, ("bias", "logs", *DROPOUT)),
    (attention_backward.attention_backward, HEAD, ("bias", "dbias", *DROPOUT)),
]
INTEGERS = ("rows", "columns", "parts", "tokens", "heads", "dropped", "segments")
POINTERS = {
    "key": "*i64",
    "numbers": "*i64",
    "bounds": "*i32",
    **dict.fromkeys(("order", "sorted_ids"), "*i64"),
}
ENDS = {embedding._add_rows: "*i64"}  # the other kernels read ends in int32
SUMS = ("bias", "gamma", "beta", "scales", "sums", "dbias", "logs")  # in fp32; the other pointers are in bf16


def type_of(name, kernel):
    if name == "ends":
        return ENDS.get(kernel, "*i32")
    if name in INTEGERS:
        return "i32"
    return "fp32" if name in ("eps", "factor") else POINTERS.get(name, "*fp32" if name in SUMS else "*bf16")


def translate(kernel, constants):
    names = kernel.arg_names
    values = {(names.index(name),): value for name, value in constants.items()}
    signature = {name: "constexpr" if name in constants else type_of(name, kernel) for name in names}
    source, target = ASTSource(kernel, signature, values), GPUTarget("cuda", 90, 32)
    backend = make_backend(target)
    options, context = backend.parse_options({}), ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    source.make_ir(target, options, backend.get_codegen_implementation(options), backend.get_module_map(), context)


for kernel, constants, optional in KERNELS:
    translate(kernel, constants)
    translate(kernel, {**constants, **dict.fromkeys(optional)})
    print(kernel.__name__)
