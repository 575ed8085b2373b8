"""Adapters: one file a method, its name the `kind` in a recipe. The contract is `mbert_cli.encoder.adapter`."""
