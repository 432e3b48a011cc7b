"""Holds manifests to the schemas of Kubernetes, and what has none there to the fields that are used of it.

Usage: check.py VERSION FILE...

Prints, as JSON, the documents.
"""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml

# Gateway API is no part of Kubernetes: the fields of HTTPRoute that are used here, as its reference names them, and no others.
OBJECT = {"type": "object", "additionalProperties": False}
HTTP_ROUTE = {
    **OBJECT,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "gateway.networking.k8s.io/v1"},
        "kind": {"const": "HTTPRoute"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            **OBJECT,
            "required": ["parentRefs", "rules"],
            "properties": {
                "parentRefs": {
                    "type": "array",
                    "items": {**OBJECT, "required": ["name"], "properties": {"name": {"type": "string"}}},
                },
                "hostnames": {"type": "array", "items": {"type": "string"}},
                "rules": {
                    "type": "array",
                    "items": {
                        **OBJECT,
                        "properties": {
                            "matches": {
                                "type": "array",
                                "items": {
                                    **OBJECT,
                                    "properties": {
                                        "path": {
                                            **OBJECT,
                                            "properties": {
                                                "type": {"enum": ["Exact", "PathPrefix", "RegularExpression"]},
                                                "value": {"type": "string", "pattern": "^/", "maxLength": 1024},
                                            },
                                        },
                                    },
                                },
                            },
                            "backendRefs": {
                                "type": "array",
                                "items": {
                                    **OBJECT,
                                    "required": ["name", "port"],
                                    "properties": {
                                        "name": {"type": "string"},
                                        "port": {"type": "integer"},
                                    },
                                },
                            },
                            "timeouts": {
                                **OBJECT,
                                "properties": {"request": {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}},
                            },
                            "sessionPersistence": {
                                **OBJECT,
                                "properties": {
                                    "sessionName": {"type": "string", "maxLength": 128},
                                    "type": {"enum": ["Cookie", "Header"]},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def main():
    version, *files = sys.argv[1:]
    documents = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            documents.extend(document for document in yaml.safe_load_all(file) if document)
    for document in documents:
        if document["kind"] == "HTTPRoute":
            jsonschema.validate(document, HTTP_ROUTE)
        else:
            kubernetes_validate.validate(document, version, strict=True)
    print(json.dumps(documents))


main()
