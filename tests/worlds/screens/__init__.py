"""Terminals and screens."""
