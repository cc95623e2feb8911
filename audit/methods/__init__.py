"""Fingerprint methods as an auditor sees them: which queries, what score."""
