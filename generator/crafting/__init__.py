"""What methods craft with: the form of a fingerprint, descents, boundaries, losses of pools."""
