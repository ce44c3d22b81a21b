"""One daemon: the loop around the core, and its effects."""
