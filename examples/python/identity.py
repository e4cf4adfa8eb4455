"""Who is calling a service behind a Sallyport gateway: the part to copy.

It believes the assertion in `x-identity-token` and nothing else. packages/identity/README.md says what each claim is.
Needs PyJWT 2.6 or newer, and cryptography.
"""

import base64
import functools
import re
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

HEADER = "x-identity-token"
TYPE = "identity+jwt"
ISSUER = "sallyport-gateway"
LEEWAY = 5  # seconds by which clocks may differ


@dataclass(frozen=True)
class Identity:
    caller: str  # "user", or "client" for a service account as itself
    user_id: str | None  # None for a service account
    client_id: str | None  # None for a user
    email: str | None
    role: str | None  # the main one, the first of the roles
    roles: tuple[str, ...]
    session_id: str | None
    scopes: tuple[str, ...] | None  # None: the token is the user's own, and no scope limits it
    actor_id: str | None  # who acts for the caller
    issuer: str | None  # who issued the access token, unless it is the gateway's own issuer


class Refused(Exception):
    """Why a caller may not go on, as problem details (RFC 9457) with the codes that the gateway has."""

    def __init__(self, status: int, code: str, title: str):
        super().__init__(title)
        self.status = status
        # RFC 9110 asks every 401 for a challenge.
        self.headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        kind = f"urn:sallyport:problem:{code.lower().replace('_', '-')}"
        self.problem = {"type": kind, "title": title, "status": status, "code": code, "error": title}


class Guard:
    """Decorators for handlers `handler(identity)`, which make of them functions of the request's headers."""

    def __init__(self, public_keys: str, audience: str):
        """
        public_keys: the gateway's public key in PEM; several in one text while it is being replaced.
        audience: the name by which the gateway's route knows this service.
        """
        pems = re.findall("-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", public_keys, re.DOTALL)
        if not pems or not audience:
            raise ValueError("set IDENTITY_PUBLIC_KEY to the gateway's public key in PEM, and name an audience")
        keys = [load_pem_public_key(pem.encode()) for pem in pems]
        self._keys = [(key, algorithm_of(key)) for key in keys]
        self._audience = audience

    def require_identity(self, callers=("user",)):
        """Lets people pass who are signed in. Service accounts pass where `callers` has `client`."""

        def decorate(handler):
            @functools.wraps(handler)
            def guarded(headers):
                identity = self.identify(headers.get_all(HEADER, []))
                if identity.caller not in callers:
                    kind = "people" if identity.caller == "user" else "service accounts"
                    raise Refused(403, "CALLER_REFUSED", f"This is not for {kind}")
                return handler(identity)

            return guarded

        return decorate

    def require_role(self, *roles, callers=("user",)):
        """As require_identity, for callers who have one of the roles."""

        def decorate(handler):
            @self.require_identity(callers)
            @functools.wraps(handler)
            def guarded(identity):
                if not set(roles) & set(identity.roles):
                    raise Refused(403, "ROLE_REQUIRED", f"This needs the role {' or '.join(roles)}")
                return handler(identity)

            return guarded

        return decorate

    def identify(self, tokens: list[str]) -> Identity:
        """Who is calling, by every value of the header: there has to be one."""
        if not tokens:
            raise Refused(401, "TOKEN_MISSING", "Sign in first")
        identity = self.verify(tokens[0].strip()) if len(tokens) == 1 else None
        if not identity:
            raise Refused(401, "TOKEN_INVALID", "The identity assertion is invalid")
        return identity

    def verify(self, token: str) -> Identity | None:
        try:
            # PyJWT skips characters that are not base64url, and leaves the type to its caller.
            if not all(is_canonical(part) for part in token.split(".")):
                return None
            header = jwt.get_unverified_header(token)
            # The gateway writes these three. Whatever else there is (jwk, crit, b64) exists to change the check.
            if header.get("typ") != TYPE or not set(header) <= {"alg", "typ", "kid"}:
                return None
            for key, algorithm in self._keys:
                if header.get("alg") == algorithm and (claims := self._claims(token, key, algorithm)):
                    return identity_from(claims)
        except Exception:
            # What a hostile token makes a parser raise: PyJWT's own errors, and TypeError, RecursionError and others.
            pass
        return None

    def _claims(self, token, key, algorithm):
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],  # the key's, whatever the token says
                issuer=ISSUER,
                audience=self._audience,
                leeway=LEEWAY,
                # The gateway's clock may be ahead, and when a token was issued decides nothing.
                options={"require": ["iss", "aud", "sub", "iat", "exp"], "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            return None  # Another key may have signed it.


def algorithm_of(key) -> str:
    """The one algorithm that a key may be used with, so that no token chooses how it is checked."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return "ES256"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "RS256"
    raise ValueError("the key must be EC P-256, Ed25519, or RSA of at least 2048 bits")


def identity_from(claims: dict) -> Identity | None:
    """The caller, or None if a claim is missing or of another form than the gateway writes."""
    sub, roles, act = claims["sub"], claims.get("roles"), claims.get("act", {})
    scopes = claims["scope"].split() if "scope" in claims else None
    is_client = is_id(sub) and sub.startswith("client:")
    # A token of another issuer than the gateway's own may say less of a user.
    is_foreign = "token_iss" in claims
    # Without scopes a user is not limited by any: whoever must be says which, be it none.
    is_limited = is_client or is_foreign or ("act" in claims and act["sub"].startswith("client:"))
    is_valid = (
        is_id(sub)
        and (is_id(claims["sid"]) if "sid" in claims else is_foreign)
        and ("email" not in claims if is_client else is_email(claims["email"]) if "email" in claims else is_foreign)
        and are(ROLE, roles, 32)
        and (len(roles) > 0 or is_client or is_foreign)
        and ([claims["role"]] if "role" in claims else []) == roles[:1]
        and ("act" not in claims or is_actor(act))
        and (scopes is not None if is_limited else scopes != [])
        and (scopes is None or are_scopes(scopes, claims["scope"]))
        and ("acr" not in claims or matches(LEVEL, claims["acr"]))
        and ("amr" not in claims or are(METHOD, claims["amr"], 16))
        and (not is_foreign or is_id(claims["token_iss"]))
        and all(is_time(claims[name]) for name in ("iat", "exp", "nbf", "auth_time") if name in claims)
        and claims.get("auth_time", 0) % 1 == 0
    )
    if not is_valid:
        return None
    return Identity(
        caller="client" if is_client else "user",
        user_id=None if is_client else sub,
        client_id=sub.removeprefix("client:") if is_client else None,
        email=claims.get("email"),
        role=claims.get("role"),
        roles=tuple(roles),
        session_id=claims.get("sid"),
        scopes=None if scopes is None else tuple(scopes),
        actor_id=act.get("sub"),
        issuer=claims.get("token_iss"),
    )


ID = re.compile(r"[\x21-\x7e]{1,320}")
EMAIL = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]{1,320}")
ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,64}")
LEVEL = re.compile(r"[\x21-\x7e]{1,64}")
METHOD = re.compile(r"[\x21-\x7e]{1,32}")


def matches(pattern, value) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def are(pattern, values, most: int) -> bool:
    return isinstance(values, list) and len(values) <= most and all(matches(pattern, value) for value in values)


def are_scopes(values, scope: str) -> bool:
    """Whether these are parted by single spaces (RFC 8693 section 4.2), each there once."""
    is_list = " ".join(values) == scope and len(scope) <= 512
    return is_list and are(SCOPE, values, 32) and len(set(values)) == len(values)


def is_id(value) -> bool:
    return matches(ID, value)


def is_email(value) -> bool:
    return matches(EMAIL, value)


def is_time(value) -> bool:
    """Seconds since 1970, and no milliseconds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e11


def is_actor(act, most=4) -> bool:
    """Who acts for the caller, and for whom that one acted before (RFC 8693 section 4.1)."""
    return (
        isinstance(act, dict)
        and most > 0
        and is_id(act.get("sub"))
        and all(is_id(act[name]) for name in ("sid", "grant") if name in act)
        and ("act" not in act or is_actor(act["act"], most - 1))
    )


def is_canonical(part: str) -> bool:
    """Whether this is the one spelling of its bytes in base64url (RFC 4648 section 3.5)."""
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode() == part
