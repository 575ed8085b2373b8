"""The BERT encoder, written as the paper's equations read, on packed sentences."""
