"""Whole runs, from an owner's options to files on disk."""
