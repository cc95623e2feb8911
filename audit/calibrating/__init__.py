"""More models for a bundle: calibrate it, and challenge it with innocents."""
