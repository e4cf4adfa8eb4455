"""Authlib as a client of ours, by the issuer alone. It takes on stdin, as JSON, the issuer and a service account."""

import json
import sys

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url

given = json.load(sys.stdin)
issuer, client_id = given["issuer"], given["id"]

metadata = AuthorizationServerMetadata(requests.get(get_well_known_url(issuer, external=True)).json())
assert metadata["issuer"] == issuer
for key in AuthorizationServerMetadata.REGISTRY_KEYS:
    # Authlib wants at least one, which only an authorization endpoint could have.
    if key != "response_types_supported":
        getattr(metadata, f"validate_{key}")()
assert metadata["response_types_supported"] == []


class OneMinute(PrivateKeyJWT):
    """Authlib lets an assertion last for an hour, unless it is told otherwise."""

    def sign(self, auth, token_endpoint):
        return private_key_jwt_sign(
            auth.client_secret, auth.client_id, token_endpoint=issuer, alg="ES256", expires_in=60
        )


def session_by(way):
    credential = given["secret"] if way == "client_secret_basic" else given["privateKey"]
    session = OAuth2Session(
        client_id, credential, token_endpoint_auth_method=way, revocation_endpoint_auth_method=way
    )
    session.register_client_auth_method(OneMinute())
    return session


for way in metadata["token_endpoint_auth_methods_supported"]:
    session = session_by(way)
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="b")
    assert (token["token_type"], token["scope"]) == ("Bearer", "b"), token

    def introspect():
        response = session.introspect_token(metadata["introspection_endpoint"], token=token["access_token"])
        assert response.status_code == 200, response.text
        return response.json()

    assert introspect()["client_id"] == client_id
    revoked = session.revoke_token(metadata["revocation_endpoint"], token=token["access_token"])
    assert revoked.status_code == 200, revoked.text
    assert introspect() == {"active": False}
    print(way)
