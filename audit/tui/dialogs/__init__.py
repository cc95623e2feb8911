"""Dialogs of the terminal UI: each asks one thing and gives the answer to who asked."""
