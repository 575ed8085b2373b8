"""Export models: as ONNX graphs, for transformers, and to the Hugging Face Hub."""
