"""Where this node runs, and the provider that is right there."""
