"""Reads the OpenAPI documents of a running gateway: each keeps to OpenAPI 3.1,
and each example in it to its own schema."""

import os
import sys

import requests
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

SERVER = os.environ['SERVER']
METHODS = {'get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'}


def absolute(value):
    """The same schema with references that hold outside of the document."""
    if isinstance(value, dict):
        return {k: 'urn:document' + v if k == '$ref' else absolute(v) for k, v in value.items()}
    if isinstance(value, list):
        return [absolute(item) for item in value]
    return value


class Document:
    def __init__(self, path):
        self.path = path
        response = requests.get(SERVER + path)
        response.raise_for_status()
        self.content = response.json()
        resource = Resource(contents=self.content, specification=DRAFT202012)
        self.registry = Registry().with_resource('urn:document', resource)
        self.wrong = []
        self.examples = 0

    def check(self):
        for error in OpenAPIV31SpecValidator(self.content).iter_errors():
            self.wrong.append(f'{list(error.absolute_path)}: {error.message}')
        for name, schema in self.content['components']['schemas'].items():
            self.properties(name, schema)
        for path, item in self.content['paths'].items():
            for method in METHODS & set(item):
                self.operation(f'{method.upper()} {path}', item[method])
        return self

    def properties(self, name, schema):
        for example in schema.get('examples', []):
            self.matches(f'{name}', schema, example)
        for field, below in schema.get('properties', {}).items():
            self.properties(f'{name}.{field}', below)

    def operation(self, name, operation):
        if not operation.get('summary'):
            self.wrong.append(f'{name} has no summary')
        for parameter in operation.get('parameters', []):
            if not parameter.get('description'):
                self.wrong.append(f'{name}: nothing is said of {parameter["name"]}')
            for example in parameter.get('schema', {}).get('examples', []):
                self.matches(f'{name} {parameter["name"]}', parameter['schema'], example)
        for kind, media in operation.get('requestBody', {}).get('content', {}).items():
            if 'schema' not in media:
                continue
            if 'example' not in media:
                self.wrong.append(f'{name}: no example of {kind}')
                continue
            self.matches(f'{name} {kind}', media['schema'], media['example'])

    def matches(self, where, schema, example):
        self.examples += 1
        validator = Draft202012Validator(
            absolute(schema), registry=self.registry, format_checker=FormatChecker()
        )
        for error in validator.iter_errors(example):
            self.wrong.append(f'{where}: {error.message}')


documents = [Document(path).check() for path in os.environ['DOCUMENTS'].split()]
for document in documents:
    print(document.path, len(document.content['paths']), 'paths', document.examples, 'examples')
    for wrong in document.wrong:
        print(f'{document.path}: {wrong}', file=sys.stderr)
sys.exit(1 if any(document.wrong for document in documents) else 0)
