"""An identity's tokens: one thread at a time fetches one, and a token that Azure refuses is replaced.

The SDK keeps a token until it expires by this machine's clock. Azure refuses it earlier if that clock is wrong, as in a
virtual machine that was paused, or if the token was revoked.
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
_UNAUTHORIZED: Final = 401  # the request lacks valid credentials (RFC 9110, 15.5.2) and had no effect


class Tokens:
    """A credential for the SDK's clients (`azure.core.credentials.TokenCredential`) that can be replaced."""

    def __init__(self, make: Callable[[], Credential]) -> None:
        """Make the first credential. `make` returns one that has fetched nothing yet; its errors pass through."""
        self._make = make
        self._made = make()
        self._one_at_a_time = Lock()

    def get_token(self, *scopes: str, **more: Any) -> AccessToken:
        """Return a token, as the SDK's credentials do."""
        with self._one_at_a_time:
            return self._made.get_token(*scopes, **more)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token with its metadata, as the SDK's credentials do."""
        with self._one_at_a_time:
            return self._made.get_token_info(*scopes, options=options)

    def asked(self, work: Callable[[], T]) -> T:
        """Return what `work` returns. If Azure refuses its token, run it once more with a new one."""
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
        """Replace a credential with a new one that has no tokens, because the SDK's credentials keep theirs."""
        with self._one_at_a_time:
            if self._made is used:  # otherwise another thread has already replaced it
                self._made = self._make()
                used.close()
