"""What answers are worth: each score in a file, and one comparison for verdict and report."""
