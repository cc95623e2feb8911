"""Wire formats of HTTP endpoints, one file each."""
