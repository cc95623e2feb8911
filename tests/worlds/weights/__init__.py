"""Networks whose weights are known, and a bundle with their sketch."""
