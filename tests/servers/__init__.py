"""Real model servers on loopback, each in a virtual environment of its own."""
