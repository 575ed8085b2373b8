"""The fused kernels for CUDA, written in Triton. Only `fused` on a GPU imports these modules."""
