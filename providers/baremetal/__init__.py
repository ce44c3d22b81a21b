"""Addresses in this host's kernel, announced on its LAN."""
