"""Data: files to rows, rows to token ids, ids to packed batches."""
