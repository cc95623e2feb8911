"""Kinprint audit: bundles, questions, scores, verdicts, records. No torch."""
