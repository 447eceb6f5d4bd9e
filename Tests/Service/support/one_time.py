"""Computes one-time passwords, as an authenticator app does."""

import base64
import hmac
import time


def one_time_password(secret, step=0):
    """The one-time password (RFC 6238) for the present 30 seconds, or for a step before or after. The secret may contain spaces."""
    digest = hmac.new(base64.b32decode(secret.replace(" ", "")), (int(time.time()) // 30 + step).to_bytes(8, "big"), "sha1").digest()
    offset = digest[19] & 15
    return f"{(int.from_bytes(digest[offset:offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"
