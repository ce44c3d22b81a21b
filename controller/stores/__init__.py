"""The compare-and-swap stores that an election can run on, one file each."""
