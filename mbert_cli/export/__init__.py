"""Export models: for onnxruntime, transformers, sentence-transformers and peft, and to the Hugging Face Hub."""
