"""The configuration file: reads it, and reports every mistake in it."""
