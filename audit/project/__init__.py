"""What a user need not say again: variables, the project's file, the user's own file."""
