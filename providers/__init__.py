"""The providers: they make an address lead to this node."""
