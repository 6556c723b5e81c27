"""Two pruned networks and a router that says which one an image needs."""
