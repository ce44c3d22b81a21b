"""Who is active. Pure: no I/O, no clock, no randomness. Begin with `controller.core.machine`."""
