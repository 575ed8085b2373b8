"""Models for other tools: ONNX graphs, the Hugging Face Hub."""
