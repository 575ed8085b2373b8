"""Devices, versions, signals and child processes."""
