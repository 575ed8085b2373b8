"""What the process runs on: devices, versions, signals, child processes."""
