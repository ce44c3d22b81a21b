"""Sets up the whole test run: its plugins, and the handling of SIGINT."""

import signal

pytest_plugins = ["tests.skips", "tests.loopback", "tests.workers"]


def pytest_configure() -> None:
    """Restores SIGINT. A background job of a script ignores it, and the processes that the tests interrupt must not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
