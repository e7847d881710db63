"""`POST /v1/decide` in the OpenAPI document: FastAPI knows nothing of a route that goes past it."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from decision.answers import DecideAnswer, DecideRequest

# Other rooms have types of the same names.
_NAME = "decide.{name}"
_REFERENCE = f"#/components/schemas/{_NAME}"
_PROBLEM = {
    "description": "What was wrong, where, and what to do (RFC 9457).",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}


def declare(app: FastAPI, path: str) -> None:
    """Tell of the route in an application's OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        if path not in schema["paths"]:
            (asked, answered), components = msgspec.json.schema_components(
                [DecideRequest, DecideAnswer], ref_template=_REFERENCE
            )
            known = schema.setdefault("components", {}).setdefault("schemas", {})
            known.update({_NAME.format(name=name): one for name, one in components.items()})
            schema["paths"] = {path: {"post": _operation(asked, answered)}, **schema["paths"]}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operation(asked: Any, answered: Any) -> dict[str, Any]:
    return {
        "tags": ["decision"],
        "summary": "Choose what a user gets at a placement",
        "description": "An answer is durable. Under a key the same request is answered the same.",
        "operationId": "decide",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {
            "200": {
                "description": "What was chosen; the variant `do_nothing` is an answer too.",
                "content": {"application/json": {"schema": answered}},
            },
            "default": _PROBLEM,
        },
    }
