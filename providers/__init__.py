"""What makes an address lead to this node."""
