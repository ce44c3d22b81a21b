"""The compare-and-swap stores an election can run on: one file each."""
