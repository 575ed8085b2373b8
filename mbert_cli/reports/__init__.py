"""What reports of several runs have in common. No torch here."""
