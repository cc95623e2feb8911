"""What follows from scores: thresholds, p-values, early stops, words."""
