"""What people see while a command works; no torch."""
