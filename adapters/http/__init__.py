"""A suspect behind HTTP: transport, retry, limits, identity."""
