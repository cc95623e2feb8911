"""Tests of the distribution as pip installs it; ``make test-installed`` runs them."""
