"""Sweeps: train, resume and compare the runs of a plan.

Must not import torch: fast start-up.
"""
