"""Kinprint's sweeps: many suspects asked with many bundles, on one machine or on several."""
