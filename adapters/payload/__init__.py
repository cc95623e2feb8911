"""Encoding of requests and decoding of answers, shared by wire formats."""
