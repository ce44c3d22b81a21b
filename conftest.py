"""Plugins of the whole test run, and what it must not inherit."""

import signal

pytest_plugins = ["tests.skips", "tests.loopback", "tests.workers"]


def pytest_configure() -> None:
    """Who is put into the background by a script inherits that SIGINT is ignored; what the tests interrupt must not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
