"""Files and folders that survive a crash: written as a whole or not at all, or resumed. No torch."""
