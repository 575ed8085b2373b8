"""The commands, one file each; no torch at module level, so that `mbert --help` answers at once."""
