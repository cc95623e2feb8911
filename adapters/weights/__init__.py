"""Weights of a file, layer by layer: read, put into one form, sketched and compared; no verdict."""
