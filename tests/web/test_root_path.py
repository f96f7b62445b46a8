"""The page below a path, behind a reverse proxy that strips the path."""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from photochrom.web.app import create_app
from photochrom.web.template import STATIC, TEMPLATES
from support.browser import needs_browser
from support.server import make_jpeg, run_server
from support.web_page import add_files, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def _proxy(target: str) -> Starlette:
    """Return a proxy of /photos/; everything else is not found."""
    methods = ["GET", "HEAD", "POST", "PATCH", "DELETE"]
    client = httpx2.AsyncClient(base_url=target, timeout=30)  # only one: it costs much time

    async def forward(request: Request) -> Response:
        response = await client.request(
            request.method,
            f"/{request.path_params['path']}",
            params=str(request.query_params),
            headers=request.headers.raw,
            content=await request.body(),
        )
        headers = {k: v for k, v in response.headers.items() if k != "content-encoding"}
        return Response(response.content, response.status_code, headers)

    @contextlib.asynccontextmanager
    async def run_client(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    routes = [Route("/photos/{path:path}", forward, methods=methods)]
    return Starlette(routes=routes, lifespan=run_client)


@pytest.fixture(scope="module")
def address(tiny_onnx: Path) -> Iterator[str]:
    """The URL of the proxy."""
    with contextlib.ExitStack() as stack:
        app = create_app([tiny_onnx], processes=1)
        target = stack.enter_context(run_server(app, root_path="/photos"))
        yield stack.enter_context(run_server(_proxy(target)))


def test_urls_of_the_server_have_the_path(address: str):
    with httpx2.Client(base_url=f"{address}/photos/", timeout=30, follow_redirects=True) as client:
        page = client.get("")
        assert page.status_code == 200
        assert "path=/photos;" in page.headers["set-cookie"].lower()
        assert client.get("./?lang=de").url == f"{address}/photos/"
        assert 'lang="de"' in client.get("").text
        assert f"{address}/photos/api/colorize" in client.get("api").text
        document = client.get("api/openapi.json").json()
        assert document["servers"] == [{"url": "/photos"}]
        assert client.get("static/page.css").status_code == 200
        photo = client.post("api/colorize", files={"file": make_jpeg()})
        assert photo.status_code == 200


def test_no_url_of_the_page_is_absolute():
    files = [*STATIC.rglob("*.js"), *STATIC.rglob("*.css"), *TEMPLATES.glob("*.html")]
    assert len(files) > 10
    absolute = re.compile(r"""["'`(]/(static|photos|api|archives)\b""")
    assert [file.name for file in files if absolute.search(file.read_text("utf-8"))] == []


@needs_browser
def test_page_stays_below_the_path(address: str, chromium: "Browser", photos: list[Path]):
    page = chromium.new_page(reduced_motion="reduce")
    failed: list[str] = []
    page.on("response", lambda r: failed.append(r.url) if r.status >= 400 else None)
    page.goto(f"{address}/photos/")
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    wait_for_colour(page)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "grandma-color.jpg"
    page.reload()
    wait_until_ready(page, 2)
    page.click("footer a[href=api]")
    assert page.url == f"{address}/photos/api"
    page.close()
    assert failed == []
