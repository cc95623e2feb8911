"""What is drawn over the queries."""
