"""Messages, progress and tables on a terminal.

Must not import torch: fast start-up.
"""
