"""Plugins of the whole test run."""

pytest_plugins = ["tests.skips", "tests.loopback", "tests.workers"]
