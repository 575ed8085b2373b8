"""Recipes for the user's own files: guess what the files contain, and write tasks for them."""
