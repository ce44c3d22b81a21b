"""The local API on a unix socket, and its client."""
