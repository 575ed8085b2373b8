"""The limits of recipe files. They stop a file that is not a recipe before it fills the memory."""

MAX_BYTES = 1 << 20
"""The size of a file."""
MAX_DEPTH = 20
"""The levels of mappings and lists."""
MAX_VALUES = 100_000
"""The number of values, after aliases and merges are expanded."""
MAX_BITS = 1024
"""The size of a whole number. The largest float has as many bits."""

_REMARK = "this does not look like a recipe."
# The ends of messages.
TOO_LARGE = f"is larger than {MAX_BYTES >> 20} MiB; {_REMARK}"
TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels; {_REMARK}"
TOO_MANY = f"contains too many values; {_REMARK}"
