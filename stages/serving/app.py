"""The HTTP server: takes a photo and a mask, returns the filled photo, and has a page for painting masks.

    inpaint serve                                     # http://127.0.0.1:8000, documentation at /docs

It writes no files and contacts no other host. Errors are JSON: {"error": code, "detail": text}.
"""

import asyncio
import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from stages.imaging.user_mask import ALPHA
from stages.inpainting.cropping import Settings
from stages.runtime.errors import InputError
from stages.runtime.log import log
from stages.serving import examples
from stages.serving.contract import ERRORS, PICTURE, JsonAnswer, JsonRequest, Options, Upload, in_words
from stages.serving.fill_request import FillReply, FillRequest, Placed
from stages.serving.limits import Limits
from stages.serving.metrics import Metrics
from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import QUEUED, Access, ApiError, JobQueue, RequestGuard
from stages.serving.worker import WorkerEndedError

PAGE = Path(__file__).with_name("index.html")
EVERY_HOST = ("0.0.0.0", "::")  # noqa: S104 - only if the user asks for it
IDLE_S = 10.0
_CODES = {404: "not_found", 405: "wrong_method", 400: "bad_request", 415: "wrong_type", 422: "bad_request"}


def create_app(served: ModelManager, limits: Limits, access: Access) -> FastAPI:
    """Create the application.

    Args:
        served: the models; the first is loaded.
        limits: of requests.
        access: who may use the server.
    """
    MultiPartParser.spool_max_size = limits.max_bytes  # uploads stay in memory and never reach the disk

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with served.kept_up_to_date():
            yield

    about = {"title": "inpaint", "description": "Fills holes in photographs.", "version": "1"}
    app = FastAPIOffline(redoc_url=None, lifespan=lifespan, **about)
    queue = JobQueue(limits, served.worker)
    metrics = Metrics(served, queue)
    app.state.served, app.state.limits, app.state.queue, app.state.metrics = served, limits, queue, metrics
    app.add_middleware(RequestGuard, limits=limits, queue=queue, access=access, requests=metrics.requests)
    if access.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=access.origins, allow_methods=["GET", "POST"], allow_headers=["*"],
            expose_headers=["X-Model-Name", "X-Model-Version", "X-Model-Digest", "X-Inpaint-Report", "Retry-After"],
        )  # fmt: skip
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=access.hosts, www_redirect=False)
    app.post(QUEUED, responses={200: PICTURE, **ERRORS}, response_class=Response)(inpaint)
    app.post(f"{QUEUED}/json", responses=ERRORS, response_model_exclude_unset=True)(inpaint_json)
    app.get("/v1/model")(describe)
    app.get("/v1/examples")(examples.names)
    app.get("/v1/examples/{name}", responses={404: ERRORS[404]}, response_class=FileResponse)(example)
    app.get("/metrics", response_class=PlainTextResponse)(metrics_text)
    app.get("/healthz")(alive)
    app.get("/readyz", responses={503: ERRORS[503]})(ready)
    app.get("/", include_in_schema=False)(page)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_malformed)
    app.exception_handler(Exception)(_failed)
    return app


async def inpaint(request: Request, sent: Annotated[Upload, Form(media_type="multipart/form-data")]) -> Response:
    """Fill the hole of a photo.

    The answer has the photo's size, profile and transparency. Pixels farther than `grow` + `feather` from the hole are
    bitwise those of the photo (in a lossless format).
    """
    holes = [await file.read() for file in _one_of(sent.hole, sent.mask)]
    patches = [await file.read() for file in sent.patches]
    reply = await _fill(request, sent, await sent.image.read(), holes, patches)
    model = {f"X-Model-{name.title()}": reply.info["model"][name] for name in ("name", "version", "digest")}
    headers = model | {"X-Inpaint-Report": json.dumps(reply.info["report"]), "Cache-Control": "no-store"}
    return Response(reply.content, media_type=reply.info["media_type"], headers=headers)


async def inpaint_json(request: Request, sent: JsonRequest) -> JsonAnswer:
    """Fill the hole of a photo, as /v1/inpaint does, with all pictures in base64."""
    reply = await _fill(request, sent, sent.image, _one_of(sent.hole, sent.mask), sent.patches)
    if sent.format == "patches":
        return JsonAnswer(**json.loads(reply.content), **reply.info)
    return JsonAnswer(image=b64encode(reply.content).decode("ascii"), **reply.info)


def _one_of(hole: Any, mask: Any) -> Any:
    if hole and mask:
        raise ApiError(422, "bad_request", "send `hole` or `mask`, which mean the same, not both")
    return hole or mask


async def _fill(
    request: Request, options: Options, image: bytes, holes: list[bytes], patches: list[bytes]
) -> FillReply:
    """Have the worker fill a photo; an error reply becomes an `ApiError`."""
    state, limits = request.app.state, request.app.state.limits
    model = _picked(state.served, options.model)
    parts = _placed("hole", holes, options.hole_at) if options.hole_at else []
    if len(holes) > 1 and not parts:
        raise ApiError(422, "bad_request", f"{len(holes)} hole pictures came without their places in `hole_at`")
    if options.max_side > limits.most_side:
        detail = f"`max_side` should be at most {limits.most_side} on this machine, but is {options.max_side}"
        raise ApiError(422, "bad_request", detail)
    mask = ALPHA if options.alpha else options.boxes or parts or (holes[0] if holes else "")
    placed = _placed("patches", patches, options.patches_at)
    try:
        settings = Settings(options.grow, options.feather, options.context, options.max_side, options.detail)
    except ValueError as error:
        raise ApiError(422, "bad_request", str(error)) from None
    wanted = FillRequest(image, mask, options.hole_is, placed, settings, options.format, options.quality)
    try:
        with state.metrics.seconds.time():
            reply: FillReply = await state.queue.do(lambda worker: worker.fill(model, wanted), _gone(request))
    except WorkerEndedError as ended:
        detail = f"the process that fills pictures ended ({ended}), perhaps for lack of memory"
        raise ApiError(500, "failed", detail) from None
    finally:
        request.state.leave()
    if reply.status != 200:
        raise ApiError(reply.status, reply.info["error"], reply.info["detail"])
    return reply


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _picked(served: ModelManager, name: str) -> str:
    try:
        return served.pick(name)
    except KeyError as error:
        raise ApiError(404, "unknown_model", str(error.args[0])) from None
    except LookupError as error:
        raise ApiError(503, "not_ready", str(error), retry_after_s=5) from None


def _placed(what: str, contents: list[bytes], places: str) -> list[Placed]:
    corners = [(int(left), int(top)) for left, top in (place.split(",") for place in places.split())]
    if len(corners) != len(contents):
        raise ApiError(422, "bad_request", f"{len(contents)} {what} came with {len(corners)} places in `{what}_at`")
    return list(zip(contents, corners, strict=True))


def describe(request: Request) -> dict[str, Any]:
    """Return the models with their versions, what was refused and why, and the limits."""
    served, limits = request.app.state.served, request.app.state.limits
    return {
        "default": served.names()[0] if served.names() else None,
        "models": served.describe(),
        "limits": {
            "max_bytes": limits.max_bytes,
            "max_megapixels": limits.max_megapixels,
            "max_megapixels_in_all": limits.most_megapixels_in_all,
            "max_side": limits.most_side,
        },
    }


def example(name: str) -> FileResponse:
    """Return an example photo."""
    path = examples.path(name)
    if path is None:
        raise ApiError(404, "not_found", f"there is no example {name!r}")
    return FileResponse(path)


def alive() -> dict[str, str]:
    """Report that the process is alive."""
    return {"status": "alive"}


def ready(request: Request) -> dict[str, str]:
    """Report that a model is loaded and has passed its self-test."""
    served = request.app.state.served
    _picked(served, "")
    return {"status": "ready", "model": served.names()[0]}


def metrics_text(request: Request) -> Response:
    """Return the metrics in Prometheus' format."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def page() -> FileResponse:
    """Return the page."""
    return FileResponse(PAGE, media_type="text/html", headers={"Cache-Control": "no-cache"})


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ApiError):
        return error.response()
    status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "")
    headers = getattr(error, "headers", None)
    return JSONResponse({"error": _CODES.get(status, "failed"), "detail": str(detail)}, status, headers)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"error": "bad_request", "detail": in_words(problems)}, 422)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "failed", "detail": f"the server failed: {type(error).__name__}"}, 500)


def serve(served: ModelManager, limits: Limits, access: Access, host: str, port: int, root_path: str) -> None:
    """Load the first model, print the server's address, and serve until interrupted.

    Raises:
        InputError: the first model cannot be loaded, or the port cannot be opened.
    """
    listening = _listen(host, port)
    served.load_first()
    name = f"[{host}]" if ":" in host else host
    hosts = ["127.0.0.1", "localhost", "[::1]", socket.gethostname(), *([name] if host not in EVERY_HOST else [])]
    app = create_app(served, limits, replace(access, hosts=[*hosts, *access.hosts]))
    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=10, server_header=False,
        limit_concurrency=limits.connections, http=IdleClosingProtocol, root_path=root_path,
    )  # fmt: skip
    log(f"inpaint: http://{name}:{listening.getsockname()[1]} with {served.names()[0]} (Ctrl-C ends it)")
    uvicorn.Server(config).run([listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(
            f"port {port} of {host} cannot be used: {error.strerror}; use another --port or --host"
        ) from None


class IdleClosingProtocol(H11Protocol):
    """HTTP/1.1 that closes idle connections."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Check after a while whether a request has arrived."""
        super().connection_made(transport)
        self.loop.call_later(IDLE_S, self._close_if_idle, None)

    def _close_if_idle(self, before: object) -> None:
        """Close a connection that has no request in progress and got none since the last check."""
        if self.cycle is before and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(IDLE_S, self._close_if_idle, self.cycle)
