"""A record for people: words, tables and figures."""
