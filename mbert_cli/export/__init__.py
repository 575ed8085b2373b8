"""Export models: as ONNX graphs, and to the Hugging Face Hub."""
