"""Where this node runs, and which provider is right there."""
