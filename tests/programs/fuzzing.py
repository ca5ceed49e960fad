"""Makes requests of an OpenAPI document, good ones and bad ones, and compares
the answers with what it says (schemathesis). What is not asked or not compared
is in fuzzing.toml, with the reasons.

MUSTER_URL is where Muster listens, MUSTER_DOCUMENT the document's path,
MUSTER_TOKEN an administrator's access token; MUSTER_ONLY and MUSTER_EXCEPT
choose operations by their paths; MUSTER_FOLDER is where it may leave files;
MUSTER_TEST_EXAMPLES says how many requests of each kind an operation gets,
MUSTER_TEST_SEED from what they are made. Arguments go on to schemathesis."""

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlencode

import schemathesis
from schemathesis.cli import schemathesis as main

URL = os.environ['MUSTER_URL']


@schemathesis.serializer('application/x-ndjson')
def lines(context, value):
    """A message a line, which schemathesis does not know."""
    messages = value if isinstance(value, list) else [value]
    return ''.join(json.dumps(message) + '\n' for message in messages).encode()


@schemathesis.hook
def filter_query(context, query):
    """Longer than HTTP servers read; a schema can only limit each parameter."""
    return len(urlencode(query or {}, doseq=True)) < 60_000


def options():
    yield '--url', URL
    yield '--max-examples', os.environ.get('MUSTER_TEST_EXAMPLES', '10')
    yield '--seed', os.environ.get('MUSTER_TEST_SEED', '1')
    if only := os.environ.get('MUSTER_ONLY'):
        yield '--include-path-regex', only
    if other := os.environ.get('MUSTER_EXCEPT'):
        yield '--exclude-path-regex', other


if __name__ == '__main__':
    if folder := os.environ.get('MUSTER_FOLDER'):
        os.chdir(folder)
    config = Path(__file__).resolve().with_suffix('.toml')
    main(
        ['--config-file', str(config), 'run', URL + os.environ['MUSTER_DOCUMENT']]
        + [word for option in options() for word in option]
        + sys.argv[1:]
    )
