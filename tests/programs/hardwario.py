"""What HARDWARIO documents for its Cloud v2: log in, find the space by its
name, enter it, list its devices and create two. Checks what its programs
check, and prints the devices as one JSON document."""

import json
import os

import requests

base_url = os.environ["BASE_URL"]
email = os.environ["EMAIL"]
password = os.environ["PASSWORD"]
space_name = os.environ["SPACE_NAME"]


def demand(response, status, what):
    if response.status_code != status:
        raise SystemExit(f"{what}: {response.status_code} {response.text}")
    return response.json()


answer = requests.post(base_url + "/v2/auth/login", json={"email": email, "password": password})
user = {"Authorization": "Bearer " + demand(answer, 200, "login")["access_token"]}

space_id = None
for space in requests.get(base_url + "/v2/spaces", headers=user).json():
    assert isinstance(space["type"], str)
    if space["name"] == space_name:
        space_id = space["id"]

answer = requests.post(base_url + "/v2/auth/space", json={"space_id": space_id}, headers=user)
member = {"Authorization": "Bearer " + demand(answer, 200, "enter the space")["access_token"]}

# 201 is what the documented program insists on.
before = demand(requests.get(base_url + "/v2/devices", headers=member), 201, "list devices")

created = []
for device in [
    {
        "name": "dev-001",
        "serial_number": "2112345678",
        "token": "hie1koh5toh0ga6iedoJ1hahshohmoh5",
    },
    {
        "name": "dev-002",
        "serial_number": "2112345679",
        "token": "hie1koh5toh0ga6iedoJ1hahshohmoha",
        "tags": [{"id": "5f6b5b4e-3b4c-4c4c-8c8c-8c8c8c8c8c8c"}],
        "external_id": "1234567890",
    },
]:
    answer = requests.post(base_url + "/v2/devices", json=device, headers=member)
    created.append(demand(answer, 201, "create a device"))

print(json.dumps({"before": before, "created": created}))
