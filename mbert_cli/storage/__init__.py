"""What is written: whole or not at all, and continued after a crash; no torch."""
