"""Makes requests to DynamoDB and S3, and tells from a failure whether the request can have had an effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from controller.stores.base import StoreError
from controller.stores.kit.blocking import THREADS
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from providers.aws.client import Aws, AwsOptions
from providers.aws.errors import EXPIRED, FAILING, THROTTLED, code_of, translate
from providers.base import ProviderError

# Refused before anything is carried out: DynamoDB's "Error handling", S3's "Error responses".
_CROSSED = {"OperationAborted", "ReplicatedWriteConflictException", "TransactionConflictException"}
_NOT_DONE = THROTTLED | EXPIRED | _CROSSED
_NOT_SENT = (
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
)
# What botocore's parsers raise for an answer that is not AWS's.
_NONSENSE = (ResponseParserError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_BROKEN = (HTTPClientError, IncompleteReadError, SSLError)


def connection(options: AwsOptions, call_timeout: float, settings: Mapping[str, Any] | None = None) -> Aws:
    """Return clients whose requests end soon after `call_timeout` seconds, to free their threads.

    `settings`: see `Aws`.
    """
    connect_seconds = min(options.connect_timeout_seconds, call_timeout / 3)
    quick = options.model_copy(update={"connect_timeout_seconds": connect_seconds})
    return Aws(quick, read_timeout=call_timeout, connections=THREADS, settings=settings)


@contextmanager
def said_of(what: str, aws: Aws, service: str) -> Iterator[Any]:
    """Yield the service's client. Translates its errors into StoreErrors that name `what` and the reason."""
    client = None
    try:
        client = aws.client(service)
        yield client
    except (BotoCoreError, ClientError) as error:
        if code_of(error) in EXPIRED:
            aws.forget(client)
        raise _failure(what, error) from error
    except _NONSENSE as error:
        raise OutcomeUnknown(f"{what}: the answer is not AWS's: {type(error).__name__}: {str(error)[:200]}") from error
    except ProviderError as error:  # no region
        raise StoreError(f"{what}: {error}") from error


def _failure(what: str, error: BotoCoreError | ClientError) -> StoreError:
    refusal = translate(error)
    text = f"{what}: {refusal.message}"
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code_of(error) in _NOT_DONE:
            return NotDone(text, refusal.after)
        return OutcomeUnknown(text) if status >= 500 or code_of(error) in FAILING else StoreError(text)
    if isinstance(error, _NOT_SENT):
        return NotDone(text)
    return OutcomeUnknown(text) if isinstance(error, _BROKEN) else StoreError(text)
