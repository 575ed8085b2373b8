"""Sweeps: train, resume and compare the runs of a plan. No torch here."""
