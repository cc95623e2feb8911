"""Crafting: how each fingerprint method makes its queries."""
