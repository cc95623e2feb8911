"""Keys, envelopes, canonical bytes, chains and timestamps."""
