"""People and apps that the local exchange knows. Pure; none of these opens anything elsewhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass

__all__ = ["APP", "PEOPLE", "App", "Person", "totp_at"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may log in, with a PIN and a second factor."""

    user_id: str
    pin: str
    totp_secret: str


@dataclass(frozen=True, slots=True)
class App:
    """An app of a person's, as a broker's developer site makes one. ``redirect`` "": any."""

    key: str
    secret: str
    redirect: str = ""


PEOPLE = (
    Person("AB1234", "123456", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
    Person("ZZ9999", "654321", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"),
)
APP = App("demoapp000000001", "demosecret000001")


def totp_at(secret: str, at: float) -> str:
    """Return the code of RFC 6238 at a moment: six digits of thirty seconds."""
    key = base64.b32decode(secret)
    digest = hmac.new(key, struct.pack(">Q", int(at // 30)), hashlib.sha1).digest()
    start = digest[19] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"
