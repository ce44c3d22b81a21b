"""What AWS's errors mean (botocore's exceptions)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as NotConnected

from providers.cloud.refusal import Refusal

_LONGEST_MESSAGE = 300  # characters; an encoded authorization failure can have thousands

# botocore's retry list ("Retry behavior", standard mode) and EC2's "Request throttling".
THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
FAILING = frozenset(
    {"InternalError", "InternalFailure", "InternalServerError", "RequestTimeout", "ServiceUnavailable", "Unavailable"}
)
EXPIRED = frozenset(  # the credentials were valid once: the next client fetches fresh ones
    {"AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidToken", "RequestExpired"}
    | {"UnrecognizedClientException"}
)

_PASSING = (HTTPClientError, NotConnected, CredentialRetrievalError, MetadataRetrievalError, NoCredentialsError)


def translate(error: BaseException) -> Refusal:
    """Translate an error of botocore. Throttling, failing servers and network errors are to be retried."""
    if isinstance(error, ClientError):
        return _translate_answer(error)
    if isinstance(error, _PASSING):
        return Refusal(_first_line(error), retry=True)
    if isinstance(error, BotoCoreError):
        return Refusal(_first_line(error), retry=False)
    return Refusal(f"{type(error).__name__}: {_first_line(error)}", retry=False)


def code_of(error: BaseException) -> str:
    """Return AWS's code for the error, empty when the error did not come from AWS."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _translate_answer(error: ClientError) -> Refusal:
    code = code_of(error)
    said = str(error.response.get("Error", {}).get("Message", ""))
    about: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 0)
    text = said.partition(" Encoded authorization failure message")[0][:_LONGEST_MESSAGE]
    retry = code in THROTTLED | FAILING | EXPIRED or status == 429 or status >= 500
    return Refusal(f"{error.operation_name}: {code}: {text}", retry, _seconds(about.get("HTTPHeaders", {})))


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in Retry-After (RFC 9110, 10.2.3), or None where it is not a number."""
    given = headers.get("retry-after", "")
    return float(given) if given.isdigit() else None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:_LONGEST_MESSAGE]
