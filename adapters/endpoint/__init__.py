"""An endpoint as its file describes it, and the secrets that it may use."""
