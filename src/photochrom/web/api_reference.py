"""The API reference at /api, rendered from the OpenAPI document without scripts."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment


def routes(app: FastAPI, templates: Environment) -> APIRouter:
    """Return the route of the reference.

    Args:
        app: The application with the API.
        templates: Contains `api.html`.
    """
    router = APIRouter(include_in_schema=False)

    @router.head("/api")
    @router.get("/api")
    async def reference(request: Request) -> HTMLResponse:
        template = templates.get_template("api.html")
        return HTMLResponse(
            template.render(operations=operations(app.openapi()), address=str(request.base_url))
        )

    return router


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of an OpenAPI 3 document.

    Returns:
        For each path and method: `method`, `path`, `description`, `fields` (name, type, required,
        default, description) and `responses` (description by status).
    """
    schemas = document.get("components", {}).get("schemas", {})
    return [
        {
            "method": method.upper(),
            "path": path,
            "description": operation.get("description", ""),
            "fields": _fields(operation, schemas),
            "responses": {
                status: response["description"]
                for status, response in operation["responses"].items()
            },
        }
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def _fields(operation: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    fields = []
    for body in operation.get("requestBody", {}).get("content", {}).values():
        schema = schemas[body["schema"]["$ref"].rsplit("/", 1)[1]]
        for name, field in schema["properties"].items():
            fields.append(
                {
                    "name": name,
                    "type": _type(field),
                    "required": name in schema.get("required", []),
                    "default": field.get("default"),
                    "description": field.get("description", ""),
                }
            )
    return fields


def _type(field: dict[str, Any]) -> str:
    """Return the type of a field with its values or range."""
    if "contentMediaType" in field:
        return "file"
    if "enum" in field:
        return f"{field['type']}: {', '.join(str(value) for value in field['enum'])}"
    if "minimum" in field:
        return f"{field['type']}, {field['minimum']:g} to {field['maximum']:g}"
    return str(field["type"])
