"""Kinprint generator: everything that needs PyTorch (pools, triggers, bundles)."""
