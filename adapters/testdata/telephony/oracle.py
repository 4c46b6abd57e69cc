#!/usr/bin/env python3
"""Writes signatures.json: webhooks and whether the providers' own libraries believe them.

    pip install twilio==9.13.0 telnyx==4.189.0 plivo==4.63.0 pynacl cryptography
    python adapters/testdata/telephony/oracle.py > adapters/testdata/telephony/signatures.json

Good ones are signed by the provider's library (Telnyx's only verifies, so those are signed with `cryptography`); then
every case, good or not, is judged by the library, and its verdict is what is written down.
"""

import base64
import hashlib
import json
import sys
import urllib.parse
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from plivo.utils import signature_v3
from telnyx.lib import WebhookVerificationError, verify_webhook_signature
from twilio.request_validator import RequestValidator, get_signature_algorithm

NOW = 1_790_000_000
TOKEN = "0123456789abcdef0123456789abcdef"
FORM = "application/x-www-form-urlencoded"
FIELDS = [("CallSid", "CA1"), ("From", "+4930123456"), ("To", "+15551234"), ("Note", "über & = ü")]

cases = []


def case(name, provider, secret, method, url, headers, body, valid, now=NOW):
    cases.append(
        dict(name=name, provider=provider, secret=secret, method=method, url=url, headers=headers, body=body,
             now_unix_s=now, valid=bool(valid)))


def form(fields):
    return urllib.parse.urlencode(fields)


def grouped(fields):
    """As the libraries take a form: single values bare, several as a list."""
    groups = {}
    for name, value in fields:
        groups.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in groups.items()}


class Many(dict):
    """The multi-dictionary that Twilio's library takes several values from."""

    def getlist(self, name):
        value = self[name]
        return value if isinstance(value, list) else [value]


def twilio(name, url, fields=None, *, body=None, kind=FORM, signed_url=None, secret=TOKEN, signer=TOKEN,
           settings=None, method="POST", spoil=lambda signature: signature):
    params = Many(grouped(fields or []))
    algorithm = get_signature_algorithm(settings)
    known = algorithm.upper() in ("HMAC_SHA1", "HMAC_SHA256")
    signature = spoil(RequestValidator(signer).compute_signature(
        signed_url or url, params, algorithm if known else None))
    headers = {"Content-Type": kind, "X-Twilio-Signature": signature}
    if settings:
        headers["X-Twilio-Webhooks-Signature-Settings"] = settings
    text = form(fields) if fields else (body or "")
    judged = params if body is None else body
    case(f"twilio: {name}", "twilio", secret, method, url, headers, text,
         RequestValidator(secret).validate(url, judged, signature, algorithm))


U = "https://voice.example.com/telephony/twilio"
twilio("a form", U, FIELDS)
twilio("fields in any order, twice, and empty", U, [("b", "2"), ("a", ""), ("b", "1"), ("b", "2")])
twilio("a query", U + "?a=1&b=%20x", FIELDS)
twilio("a port that was signed", "https://voice.example.com:8443/telephony/twilio", FIELDS)
twilio("a port that was not signed", "https://voice.example.com:8443/telephony/twilio", FIELDS, signed_url=U)
twilio("the usual port was signed", U, FIELDS, signed_url="https://voice.example.com:443/telephony/twilio")
twilio("SHA-256 by a shared key", U, FIELDS, settings="key=webhooks_sharedkey_1,algorithm=HMAC_SHA256")
twilio("an algorithm that nobody knows", U, FIELDS, settings="key=1,algorithm=HMAC_MD5")
twilio("a handshake", "wss://voice.example.com/stream/1", method="GET")
twilio("a handshake with a slash too many", "wss://voice.example.com/stream/1/", method="GET",
       signed_url="wss://voice.example.com/stream/1")
BODY = json.dumps({"CallSid": "CA1"})
DIGEST = hashlib.sha256(BODY.encode()).hexdigest()
twilio("a JSON body by its digest", f"{U}?bodySHA256={DIGEST}", body=BODY, kind="application/json")
twilio("a JSON body with another's digest", f"{U}?bodySHA256={'0' * 64}", body=BODY, kind="application/json")
twilio("another secret", U, FIELDS, signer="another")
twilio("another host", U, FIELDS, signed_url=U.replace("voice", "other"))
twilio("a signature cut short", U, FIELDS, spoil=lambda signature: signature[:-4])
twilio("an empty signature in base64", U, FIELDS, spoil=lambda _: "AA==")


def telnyx(name, body, *, at=NOW, now=NOW, signed_body=None, spoil=lambda signature: signature, other_key=False):
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signer = Ed25519PrivateKey.from_private_bytes(bytes(32)) if other_key else key
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    signature = signer.sign(f"{at}|{signed_body or body}".encode())
    headers = {"Content-Type": "application/json", "telnyx-timestamp": str(at),
               "telnyx-signature-ed25519": spoil(base64.b64encode(signature).decode())}
    with mock.patch("time.time", return_value=now):
        try:
            verify_webhook_signature(body, headers, public)
            valid = True
        except WebhookVerificationError:
            valid = False
    case(f"telnyx: {name}", "telnyx", public, "POST", "https://voice.example.com/telephony/telnyx", headers, body,
         valid, now)


EVENT = json.dumps({"data": {"event_type": "call.initiated", "payload": {"call_control_id": "v3:1"}}})
telnyx("an event", EVENT)
telnyx("a form", form(FIELDS))
telnyx("five minutes old", EVENT, at=NOW - 300)
telnyx("a little early", EVENT, at=NOW + 30)
telnyx("older than five minutes", EVENT, at=NOW - 301)
telnyx("from the future", EVENT, at=NOW + 301)
telnyx("another body", EVENT, signed_body=EVENT + " ")
telnyx("another key", EVENT, other_key=True)
telnyx("a signature cut short", EVENT, spoil=lambda signature: signature[:-8])


def plivo(name, url, fields=None, *, method="POST", signed_url=None, secret=TOKEN, signer=TOKEN, nonce="12345",
          signed_nonce=None, around=lambda signature: signature):
    params = grouped(fields or [])
    signed = signed_url or url
    base = (signature_v3.construct_get_url(signed, {}) if method == "GET"
            else signature_v3.construct_post_url(signed, dict(params))).decode()
    signature = signature_v3.get_signature_v3(signer.encode(), base, signed_nonce or nonce).decode()
    headers = {"Content-Type": FORM, "X-Plivo-Signature-V3": around(signature), "X-Plivo-Signature-V3-Nonce": nonce}
    judged = {} if method == "GET" else dict(params)
    valid = signature_v3.validate_v3_signature(method, url, nonce, secret, headers["X-Plivo-Signature-V3"], judged)
    case(f"plivo: {name}", "plivo", secret, method, url, headers, form(fields) if fields else "", valid)


P = "https://voice.example.com/telephony/plivo"
plivo("a form", P, FIELDS)
plivo("fields in any order and twice", P, [("b", "2"), ("a", "1"), ("b", "1")])
plivo("a form and a query", P + "?z=1&a=%20x&empty=", FIELDS)
plivo("nothing but the address", P)
plivo("a query and no form", P + "?z=1&a=2")
plivo("a GET", P + "?CallUUID=1&From=%2B4930", method="GET")
plivo("a handshake", "https://voice.example.com/stream/1", method="GET")
plivo("the second of two signatures", P, FIELDS, around=lambda signature: f"AAAA,{signature}")
plivo("another secret", P, FIELDS, signer="another")
plivo("another number used once", P, FIELDS, signed_nonce="54321")
plivo("another address", P, FIELDS, signed_url=P + "/")

json.dump(cases, sys.stdout, indent=1, ensure_ascii=False)
print()
