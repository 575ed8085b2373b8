"""The commands, one file each. They import torch only when they run, so that `mbert --help` is fast."""
