"""Whether this node is fit to serve, and saying so."""
