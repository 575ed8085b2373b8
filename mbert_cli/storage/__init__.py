"""Files and folders that survive a crash: written as a whole or not at all, or resumed.

Must not import torch: fast start-up.
"""
