"""What a deployer would run to notice that somebody fingerprints the model."""
