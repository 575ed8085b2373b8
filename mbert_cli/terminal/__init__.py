"""Messages, progress and tables on a terminal. No torch."""
