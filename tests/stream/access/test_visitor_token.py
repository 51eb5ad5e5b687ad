"""Tokens of visitors: the one form that holds, and each way in which a token doesn't."""

from __future__ import annotations

import base64
import hmac
import json
import string
from typing import Any

import pytest

from stream.access.visitor_token import LONGEST_SECONDS, MAX_TOKEN_BYTES, Visitor, WrongToken, verify

SECRET = b"corrente_signing_" + b"5f" * 32
NOW = 1_800_000_000.0
ADA = {"aud": "shop", "sub": "ada", "sid": "s-1", "exp": NOW + 600}
HS256 = {"alg": "HS256", "typ": "JWT"}


def part(value: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def signed(claims: Any, header: Any = HS256, secret: bytes = SECRET, digest: str = "sha256") -> bytes:
    text = part(header) + b"." + part(claims)
    return text + b"." + base64.urlsafe_b64encode(hmac.digest(secret, text, digest)).rstrip(b"=")


def test_a_right_token_names_its_visitor() -> None:
    assert verify(signed(ADA), SECRET, model="shop", now=NOW) == Visitor("ada", "s-1")
    assert verify(signed({**ADA, "sid": None}), SECRET, model="shop", now=NOW) == Visitor("ada", None)
    assert verify(signed({**ADA, "exp": NOW + LONGEST_SECONDS}), SECRET, model="shop", now=NOW).user == "ada"


def test_the_signature_is_that_of_the_rfc() -> None:
    """Key, header and claims of RFC 7515, appendix A.1: the signature fits, and the claims are not ours."""
    key = base64.urlsafe_b64decode(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
    )
    token = (
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        b".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    with pytest.raises(WrongToken, match="missing required field `aud`"):
        verify(token, key, model="shop", now=NOW)
    with pytest.raises(WrongToken, match="its signature is not by"):
        verify(token, key[:-1], model="shop", now=NOW)


WRONG = {
    "of the algorithm none": (part({"alg": "none"}) + b"." + part(ADA) + b".", "no JSON Web Token"),
    "that says none and is signed": (signed(ADA, {"alg": "none", "typ": "JWT"}), "algorithm is not HS256"),
    "that says RS256 and is signed": (signed(ADA, {"alg": "RS256", "typ": "JWT"}), "algorithm is not HS256"),
    "with a signature as long as RS256's": (signed(ADA, {"alg": "RS256"})[:-43] + b"A" * 342, "no JSON Web Token"),
    "signed with HS512": (signed(ADA, {"alg": "HS512"}, digest="sha512"), "no JSON Web Token"),
    "signed by another secret": (signed(ADA, secret=b"corrente_signing_" + b"00" * 32), "its signature is not by"),
    "with claims of another token": (
        b".".join([signed(ADA).split(b".")[0], part({**ADA, "sub": "bob"}), signed(ADA).split(b".")[2]]),
        "its signature is not by",
    ),
    "that brings a key": (signed(ADA, {**HS256, "jwk": {"kty": "oct", "k": "AA"}}), "unknown field `jwk`"),
    "with critical extensions": (signed(ADA, {**HS256, "crit": ["exp"]}), "unknown field `crit`"),
    "of another model": (signed({**ADA, "aud": "other"}), "another model"),
    "of several models": (signed({**ADA, "aud": ["shop", "other"]}), "`str`, got `array`"),
    "that has ended": (signed({**ADA, "exp": NOW}), "expired"),
    "that ends too late": (signed({**ADA, "exp": NOW + LONGEST_SECONDS + 1}), "more than an hour"),
    "that never ends": (signed({name: value for name, value in ADA.items() if name != "exp"}), "field `exp`"),
    "that ends in text": (signed({**ADA, "exp": str(NOW + 60)}), "got `str`"),
    "that ends at no number": (signed({**ADA, "exp": float("nan")}), "malformed"),
    "that is not valid yet": (signed({**ADA, "nbf": NOW + 1}), "not valid yet"),
    "without a model": (signed({name: value for name, value in ADA.items() if name != "aud"}), "field `aud`"),
    "without a visitor": (signed({"aud": "shop", "exp": NOW + 60}), "names no visitor"),
    "of an empty visitor": (signed({**ADA, "sub": ""}), "names no visitor"),
    "of a visitor that is a number": (signed({**ADA, "sub": 7}), "got `int`"),
    "that is no object": (signed([ADA]), "got `array`"),
    "that is too long": (signed({**ADA, "more": "x" * MAX_TOKEN_BYTES}), "no JSON Web Token"),
    "with padding": (signed(ADA) + b"=", "no JSON Web Token"),
    "with a line after it": (signed(ADA) + b"\n", "no JSON Web Token"),
    "that is empty": (b"", "no JSON Web Token"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_token_names_nobody(kind: str) -> None:
    token, reason = WRONG[kind]
    with pytest.raises(WrongToken, match=reason):
        verify(token, SECRET, model="shop", now=NOW)


def test_the_last_bits_of_a_signature_count() -> None:
    """Base64 of 32 bytes has bits to spare; a token with others there is another text, and does not hold."""
    token = signed(ADA)
    held = 0
    for letter in string.ascii_letters + string.digits + "-_":
        other = token[:-1] + letter.encode()
        try:
            verify(other, SECRET, model="shop", now=NOW)
            held += 1
        except WrongToken:
            continue
    assert held == 1
