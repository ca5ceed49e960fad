"""A program that knows OAuth 2.0 and JWT, and nothing of Muster but its URL.

Reads the metadata, gets a token for a client key and secret
(requests-oauthlib), verifies it from the published keys alone (PyJWT),
introspects it, uses it and revokes it. Prints what came of it, as JSON.
"""

import json
import os
import time

import jwt
import requests
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

# The tests have no TLS.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

url = os.environ["MUSTER_URL"]
client_id, client_secret = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
auth = HTTPBasicAuth(client_id, client_secret)
server = requests.get(url + "/.well-known/oauth-authorization-server").json()


def session(scope):
    return OAuth2Session(client=BackendApplicationClient(client_id, scope=scope))


def failed(call):
    """What an OAuth or JWT library raises."""
    try:
        call()
    except OAuth2Error as error:
        return error.error
    except jwt.InvalidTokenError as error:
        return type(error).__name__
    return None


program = session(["devices.read"])
token = program.fetch_token(server["token_endpoint"], auth=auth)
text = token["access_token"]
report = {"scope": token["scope"]}

keys = jwt.PyJWKClient(server["jwks_uri"])
key = keys.get_signing_key_from_jwt(text)
algorithms = server["id_token_signing_alg_values_supported"]


def verify(text, audience="muster", issuer=server["issuer"]):
    return jwt.decode(
        text, key, algorithms, audience=audience, issuer=issuer,
        options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
    )


report["claims"] = verify(text)
head, body, signature = text.split(".")
altered = ("B" if signature[0] == "A" else "A") + signature[1:]
report["altered"] = failed(lambda: verify(".".join([head, body, altered])))
report["other_audience"] = failed(lambda: verify(text, audience="others"))
report["other_issuer"] = failed(lambda: verify(text, issuer="https://others.example.com"))

asked = requests.post(server["introspection_endpoint"], data={"token": text}, auth=auth)
report["introspection"] = asked.json()
report["devices"] = program.get(url + "/v1/devices").status_code

wrong = HTTPBasicAuth(client_id, "wrong")
report["wrong_secret"] = failed(lambda: session(None).fetch_token(server["token_endpoint"], auth=wrong))
many = session(["devices.read", "devices.write"])
report["wrong_scope"] = failed(lambda: many.fetch_token(server["token_endpoint"], auth=auth))

revoked = requests.post(server["revocation_endpoint"], data={"token": text}, auth=auth)
report["revoked"] = revoked.status_code
for _ in range(100):
    asked = requests.post(server["introspection_endpoint"], data={"token": text}, auth=auth)
    report["after"] = asked.json()
    if not report["after"]["active"]:
        break
    time.sleep(0.1)

print(json.dumps(report))
