"""Kinprint's commands that lay bundles or records side by side."""
