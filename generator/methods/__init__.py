"""Fingerprint methods, one file each: how each makes its queries."""
