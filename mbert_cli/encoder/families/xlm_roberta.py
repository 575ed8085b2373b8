"""XLM-RoBERTa (Conneau et al. 2020): RoBERTa with a multilingual vocabulary."""

from dataclasses import replace

from mbert_cli.encoder.families.roberta import FAMILY as _ROBERTA

FAMILY = replace(_ROBERTA, architecture="XLMRobertaModel", defaults=replace(_ROBERTA.defaults, family="xlm-roberta"))
