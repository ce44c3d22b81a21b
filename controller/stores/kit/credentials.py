"""When certificates and tokens end. Somebody must replace them before."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING

from controller.stores.base import Credential

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def read_file(file: Path) -> Credential | None:
    """Return when the certificates of a PEM file end; None if it has none, or cannot be read."""
    try:
        return read_certificates(f"{file}", file.read_bytes())
    except OSError:
        return None


def read_certificates(name: str, pem: bytes) -> Credential | None:
    """Return when the certificates end; None if there are none.

    A chain ends with the first of its certificates, a list of authorities with the last.
    """
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415  (slow to import, and often not needed)

    try:
        found = load_pem_x509_certificates(pem)
    except ValueError:
        return None
    decides = (max if all(map(_is_authority, found)) else min)(found, key=lambda each: each.not_valid_after_utc)
    begins, ends = decides.not_valid_before_utc, decides.not_valid_after_utc
    return Credential(name, begins.timestamp(), ends.timestamp())


def read_token(name: str, token: str) -> Credential | None:
    """Return when a JSON Web Token ends (`exp`, RFC 7519 section 4.1.4); None if this is none, or one without an end.

    Its signature is not checked: whoever gave us a wrong token has worse ways to mislead us.
    """
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        ends = float(claims["exp"])
        return Credential(name, float(claims.get("iat", ends)), ends)
    except (binascii.Error, ValueError, LookupError, TypeError, AttributeError):
        return None


def _is_authority(certificate: Certificate) -> bool:
    from cryptography.x509 import BasicConstraints, ExtensionNotFound  # noqa: PLC0415  (see above)

    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except ExtensionNotFound:
        return False
