"""The root of the project's errors. It is here because `health` is the package that imports neither of the others.

| raised by | errors |
|---|---|
| `controller.config` | ConfigError: the file is wrong. StartError: the daemon cannot start now. |
| `controller.stores` | StoreError: the outcome is unknown. Conflict: the write did not land. |
| `controller.core` | BadRecord: a value in the store cannot be read. |
| `controller.daemon` | LifeError, LocalError, HookError |
| `controller.api` | AdminError and RequestRefused in the daemon; NotThere, Declined in the client |
| `controller.demo` | Unavailable |
| `providers` | ProviderError, and below it StaleGrant, Unanswered, CallRefused, NetlinkError and those of one cloud |
| `health` | EndpointError, CommandError, CheckFailed |
"""

from __future__ import annotations


class AnyvipError(Exception):
    """An error that the project foresees. Its message fits on one line and tells an operator what to do."""
