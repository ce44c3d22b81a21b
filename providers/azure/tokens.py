"""An identity's tokens: one thread at a time fetches one, and another one takes the place of one that Azure refuses.

The SDK keeps a token until its time is over by this machine's clock. Azure refuses it before where that clock is wrong,
as in a virtual machine that was paused, or where tokens were revoked.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Final, TypeVar

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import HttpResponseError
from azure.identity import EnvironmentCredential, ManagedIdentityCredential, WorkloadIdentityCredential

T = TypeVar("T")
Credential = ManagedIdentityCredential | WorkloadIdentityCredential | EnvironmentCredential
_UNAUTHORIZED: Final = 401  # who asks is not known (RFC 9110, 15.5.2); nothing was done


class Tokens:
    """What the SDK's clients take for a credential (`azure.core.credentials.TokenCredential`)."""

    def __init__(self, make: Callable[[], Credential]) -> None:
        """`make` makes a credential that has fetched nothing yet; what it raises is raised."""
        self._make = make
        self._made = make()
        self._one_at_a_time = Lock()

    def get_token(self, *scopes: str, **more: Any) -> AccessToken:
        """As the SDK's credentials do it."""
        with self._one_at_a_time:
            return self._made.get_token(*scopes, **more)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """As the SDK's credentials do it."""
        with self._one_at_a_time:
            return self._made.get_token_info(*scopes, options=options)

    def asked(self, work: Callable[[], T]) -> T:
        """What `work` returns; if Azure refuses the token it was done with, it is done once more with another one."""
        used = self._made
        try:
            return work()
        except HttpResponseError as error:
            if error.status_code != _UNAUTHORIZED:
                raise
        self._forget(used)
        return work()

    def close(self) -> None:
        """Close the connections."""
        with self._one_at_a_time:
            self._made.close()

    def _forget(self, used: Credential) -> None:
        """The SDK's credentials keep their tokens, so one that has none takes over."""
        with self._one_at_a_time:
            if self._made is used:  # else another thread was faster
                self._made = self._make()
                used.close()
