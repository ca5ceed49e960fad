"""A program written for SensorBucket, with its published SDK (PyPI: sensorbucket).

Makes keys, lists them page by page, reads one, revokes them, and lists the
tenants. Prints what the SDK made of the answers, as JSON.
"""

import json
import os
from datetime import datetime, timezone

import sensorbucket
from sensorbucket.rest import ApiException

configuration = sensorbucket.Configuration(
    host=os.environ["MUSTER_URL"] + "/api",
    access_token=os.environ["BEARER_TOKEN"],
)
# The documented sample sets this too: it is sent as a cookie without a name.
configuration.api_key["CookieSession"] = os.environ["BEARER_TOKEN"]


def refused(call):
    """What the SDK raises, and the status."""
    try:
        call()
    except ApiException as e:
        return [type(e).__name__, e.status]
    return None


with sensorbucket.ApiClient(configuration) as client:
    keys, tenants = sensorbucket.APIKeysApi(client), sensorbucket.TenantsApi(client)
    report = {}

    found = [t for page in tenants.list_tenants_gen(limit=1) for t in page.data]
    report["tenants"] = [[t.id, t.name] for t in found]
    tenant = int(os.environ["TENANT"])

    secrets = []
    # Without a zone, as most programs write it, and with one.
    expiries = [None, datetime(2031, 1, 1), datetime(2031, 1, 1, tzinfo=timezone.utc)]
    for i, expiry in enumerate(expiries):
        wanted = sensorbucket.CreateApiKeyRequest(
            name=f"sdk {i}", tenant_id=tenant, permissions=["READ_DEVICES"], expiration_date=expiry
        )
        secrets.append(keys.create_api_key(create_api_key_request=wanted).api_key)
    report["secrets"] = secrets

    pages = list(keys.list_api_keys_gen(tenant_id=tenant, limit=2))
    report["pages"] = [[key.name for key in page.data] for page in pages]
    ids = {key.name: key.id for page in pages for key in page.data}

    one = keys.get_api_key(ids["sdk 1"])
    report["one"] = [one.id == ids["sdk 1"], one.name, one.tenant_id, one.tenant_name]
    report["expiration"] = one.expiration_date.isoformat()
    report["created"] = one.created.tzinfo is not None

    report["revoked"] = keys.revoke_api_key(ids["sdk 1"]).message
    report["get_revoked"] = refused(lambda: keys.get_api_key(ids["sdk 1"]))
    nameless = sensorbucket.CreateApiKeyRequest(name="", tenant_id=tenant, permissions=["READ_DEVICES"])
    report["nameless"] = refused(lambda: keys.create_api_key(create_api_key_request=nameless))
    configuration.access_token = "nobody's"
    report["nobody"] = refused(keys.list_api_keys)
    configuration.access_token = secrets[0]
    report["not_allowed"] = refused(keys.list_api_keys)

print(json.dumps(report))
