"""The page that describes the API, from its OpenAPI document; no script, nothing from elsewhere."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment


def routes(app: FastAPI, templates: Environment) -> APIRouter:
    """Return the route of the page.

    Args:
        app: Whose API it describes.
        templates: `api.html` among them.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/api")
    async def reference(request: Request) -> HTMLResponse:
        template = templates.get_template("api.html")
        return HTMLResponse(
            template.render(operations=operations(app.openapi()), address=str(request.base_url))
        )

    return router


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an API can be asked, in words.

    Args:
        document: OpenAPI 3.

    Returns:
        For each path and method: `method`, `path`, `text`, `fields` (name, type, needed, text) and
        `answers` (status, text).
    """
    schemas = document.get("components", {}).get("schemas", {})
    found = []
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            content = said.get("requestBody", {}).get("content", {})
            fields = []
            for body in content.values():
                schema = schemas[body["schema"]["$ref"].rsplit("/", 1)[1]]
                needed = schema.get("required", [])
                for name, field in schema["properties"].items():
                    fields.append(
                        {
                            "name": name,
                            "type": _type(field),
                            "needed": name in needed,
                            "default": field.get("default"),
                            "text": field.get("description", ""),
                        }
                    )
            answers = [
                {"status": status, "text": answer["description"]}
                for status, answer in said["responses"].items()
            ]
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "text": said.get("description", ""),
                    "fields": fields,
                    "answers": answers,
                }
            )
    return found


def _type(field: dict[str, Any]) -> str:
    """Return the type of a field with its range."""
    kinds = field.get("anyOf", [field])
    kind = next(kind for kind in kinds if kind.get("type") != "null")
    if kind.get("format") == "binary" or "contentMediaType" in kind:
        return "file"
    said = str(kind.get("type"))
    if "minimum" in kind:
        said += f", {kind['minimum']:g} to {kind['maximum']:g}"
    return said
