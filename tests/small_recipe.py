"""A small recipe as text, without data files."""

TASK = """\
  mood:
    train: train.tsv
    dev: dev.tsv
    text: sentence
    label: mood
    head: {kind: classification, num_classes: 3}
"""
SMALL = "encoder: {checkpoint: bert-base-uncased}\ntasks:\n" + TASK
REFERENCE = "reference: {source: a paper, scores: {mood: 0.5}}\n"
