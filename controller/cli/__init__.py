"""The command `anyvip`."""
