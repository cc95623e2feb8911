"""Kinprint: the terminal UI over the same session, store and reports as the command line."""
