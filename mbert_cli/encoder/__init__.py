"""The BERT encoder on packed sentences; the code follows the paper's equations."""
