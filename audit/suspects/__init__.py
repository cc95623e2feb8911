"""How suspects are found and opened for a bundle."""
