"""How commands speak to a terminal."""
