"""The owner's images, and which of them serves what."""
