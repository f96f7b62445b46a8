"""A stand-in for the hub of models: what `huggingface_hub` asks to upload and download files."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

TOKEN = "hf_writes"


@dataclass
class Hub:
    """Repositories by name: commits, the newest last, of files by path."""

    commits: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    downloads: list[str] = field(default_factory=list)
    """Paths of the files that were downloaded."""

    def add(self, repository: str, **files: bytes) -> None:
        """Add a commit to a repository; of names, `__` is a dot."""
        named = {name.replace("__", "."): content for name, content in files.items()}
        self.commits.setdefault(repository, []).append(named)

    def files(self, repository: str) -> dict[str, bytes]:
        """Return the files of the newest commit."""
        return self.commits[repository][-1]


def _sha(number: int) -> str:
    return f"{number + 1:040x}"


def _refuse(status: int, code: str, message: str) -> Response:
    return Response(status_code=status, headers={"X-Error-Code": code, "X-Error-Message": message})


def create_hub(hub: Hub) -> FastAPI:
    """Return the server of a hub; who uploads needs `TOKEN`."""
    app = FastAPI()

    @app.middleware("http")
    async def check_token(request: Request, call_next: Any) -> Response:
        token = request.headers.get("Authorization")
        is_check = request.url.path == "/api/validate-yaml"
        if request.method == "POST" and not is_check and token != f"Bearer {TOKEN}":
            return _refuse(403, "", "this token may not write")
        response: Response = await call_next(request)
        return response

    @app.post("/api/repos/create")
    async def create(request: Request) -> Response:
        body = await request.json()
        repository = f"{body['organization']}/{body['name']}"
        status = 409 if repository in hub.commits else 200
        hub.commits.setdefault(repository, [{".gitattributes": b""}])
        return JSONResponse({"url": f"{request.base_url}{repository}"}, status)

    @app.post("/api/validate-yaml")
    async def validate(request: Request) -> Response:
        content = (await request.json())["content"]
        if "license: nobody-knows" in content:
            return JSONResponse({"errors": [{"message": '"license" must be one of these'}]}, 400)
        return JSONResponse({"errors": [], "warnings": []})

    @app.post("/api/models/{owner}/{name}/preupload/main")
    async def preupload(request: Request) -> dict[str, Any]:
        files = (await request.json())["files"]
        answer = {"uploadMode": "regular", "shouldIgnore": False}
        return {"files": [{"path": file["path"], **answer} for file in files]}

    @app.post("/api/models/{owner}/{name}/commit/main")
    async def commit(owner: str, name: str, request: Request) -> dict[str, Any]:
        commits = hub.commits[f"{owner}/{name}"]
        files = dict(commits[-1])
        for line in (await request.body()).splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        commits.append(files)
        sha = _sha(len(commits) - 1)
        url = f"{request.base_url}{owner}/{name}/commit/{sha}"
        return {"success": True, "commitUrl": url, "commitOid": sha}

    @app.get("/api/models/{owner}/{name}")
    @app.get("/api/models/{owner}/{name}/revision/{revision}")
    def info(owner: str, name: str, revision: str = "main") -> Response:
        commits = hub.commits.get(f"{owner}/{name}")
        if commits is None:
            return _refuse(404, "RepoNotFound", "Repository not found")
        shas = [_sha(number) for number in range(len(commits))]
        if revision not in ("main", *shas):
            return _refuse(404, "RevisionNotFound", "Invalid rev id")
        sha = shas[-1] if revision == "main" else revision
        siblings = [{"rfilename": path} for path in commits[shas.index(sha)]]
        content = {"id": f"{owner}/{name}", "sha": sha, "siblings": siblings, "tags": []}
        return JSONResponse(content)

    @app.api_route("/{owner}/{name}/resolve/{sha}/{path:path}", methods=["GET", "HEAD"])
    def download(owner: str, name: str, sha: str, path: str, request: Request) -> Response:
        content = hub.commits[f"{owner}/{name}"][int(sha, 16) - 1][path]
        if request.method == "GET":
            hub.downloads.append(path)
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        return Response(content, headers={"X-Repo-Commit": sha, "ETag": etag})

    return app
