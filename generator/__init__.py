"""Kinprint generator: everything that needs PyTorch (pools, triggers, bundles)."""

import os

# Before torch is imported: its threads spin while they wait, by default, and where others use the
# machine, too, each step then waits for a thread that cannot run (seen: six times slower).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
