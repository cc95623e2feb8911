"""What the sweep command shows and asks, apart from its options."""
