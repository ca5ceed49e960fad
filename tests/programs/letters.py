"""Writes letters that key management refuses into a folder's outbox of tenancy,
and after them one that suspends a tenant; nobody runs on the folder."""

import os
import sqlite3
import uuid

LONG_AGO = "2020-01-01T00:00:00+00:00"

database = sqlite3.connect(os.path.join(os.environ["FOLDER"], "tenancy.sqlite"))
with database:
    database.executemany(
        "INSERT INTO outbox (subject, create_time) VALUES (?, ?)",
        [("nonsense:" + "x" * 200, LONG_AGO)] * 1500,
    )
    tenant = uuid.UUID(os.environ["TENANT"])
    database.execute(
        "INSERT INTO outbox (subject, tenant, suspended, revision, create_time) VALUES (?, ?, 1, 1, ?)",
        ("tenant:%s" % tenant, tenant.bytes, LONG_AGO),
    )
database.close()
