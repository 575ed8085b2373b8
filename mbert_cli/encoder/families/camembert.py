"""CamemBERT (Martin et al. 2020): RoBERTa for French."""

from dataclasses import replace

from mbert_cli.encoder.families.roberta import FAMILY as _ROBERTA

FAMILY = replace(_ROBERTA, architecture="CamembertModel", defaults=replace(_ROBERTA.defaults, family="camembert"))
