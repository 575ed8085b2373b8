"""Recipes written for the user: what files hold, and which tasks can be made of it."""
