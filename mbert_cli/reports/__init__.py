"""What reports of several runs have in common.

Must not import torch: fast start-up.
"""
