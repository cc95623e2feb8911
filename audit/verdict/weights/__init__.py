"""What a file's weights say beside its answers, and one verdict from both."""
