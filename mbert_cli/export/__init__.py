"""Export models: as ONNX graphs, for transformers and sentence-transformers, and to the Hugging Face Hub."""
