"""A receiver's check of a webhook, by the library of the specification.

Verifies a request that a test received, and that a changed body is refused.
"""

import json
import os

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["SECRET"])
headers = json.loads(os.environ["HEADERS"])
body = os.environ["BODY"]
webhook.verify(body, headers)
try:
    webhook.verify(body.replace("device", "defice"), headers)
except WebhookVerificationError:
    print("verified")
