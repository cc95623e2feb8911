"""Kinprint benchmarks: speed and size. Timings are printed and stored, never tested."""
