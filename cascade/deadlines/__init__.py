"""A few networks for a distribution of deadlines: choice, distribution, command."""
