"""Plans of many runs: trained, resumed and compared; no torch."""
