"""Files as other programs export them."""
