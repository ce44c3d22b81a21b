"""What stores share. No store by itself."""
