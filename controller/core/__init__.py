"""Decides who is active. Pure: no I/O, no clock, no randomness. Start with `controller.core.machine`."""
