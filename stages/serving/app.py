"""The server: a photo and a hole in, the filled photo out, and a page where one paints the hole.

    inpaint serve                                     # http://127.0.0.1:8000, its documentation at /docs

It writes no files, asks nobody outside, and answers what it cannot do with JSON: {"error": code, "detail": text}.
"""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from stages.imaging.images import BadImageError
from stages.inpainting.cropping import MOST_FEATHER_PX, MOST_GROW_PX, Settings
from stages.inpainting.inpainter import Inpainter
from stages.runtime.errors import InpaintError, InputError
from stages.runtime.log import log
from stages.serving import examples
from stages.serving.answer import AnswerFormat, Asked, answer
from stages.serving.contract import ERRORS, PICTURE, Limits
from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import ApiError, JobQueue, RequestGuard

PAGE = Path(__file__).with_name("index.html")
MOST_PATCHES = 200
_PAGE_POLICY = (
    "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'"
)
_STATUS = {"too_many_pixels": 413, "size_mismatch": 422}
_CODES = {404: "not_found", 405: "wrong_method", 400: "bad_request", 415: "wrong_type", 422: "bad_request"}


def create_app(served: ModelManager, limits: Limits, hosts: list[str]) -> FastAPI:
    """Make the server.

    Args:
        served: the models, the first of them loaded.
        limits: what a request may cost.
        hosts: names by which this machine may be called.
    """
    MultiPartParser.spool_max_size = limits.max_bytes  # uploads stay in memory: nothing of people's reaches the disk

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with served.kept_up_to_date():
            yield

    about = {"title": "inpaint", "description": "Fills holes in photographs.", "version": "1"}
    app = FastAPIOffline(redoc_url=None, lifespan=lifespan, **about)
    app.state.served, app.state.limits, app.state.turns = served, limits, JobQueue(limits.queue, limits.timeout_s)
    app.add_middleware(RequestGuard, hosts=hosts, max_bytes=limits.max_bytes, timeout_s=limits.timeout_s)
    app.post("/v1/inpaint", responses={200: PICTURE, **ERRORS}, response_class=Response)(inpaint)
    app.get("/v1/model")(describe)
    app.get("/v1/examples")(examples.names)
    app.get("/v1/examples/{name}", responses={404: ERRORS[404]}, response_class=FileResponse)(example)
    app.get("/healthz")(alive)
    app.get("/readyz", responses={503: ERRORS[503]})(ready)
    app.get("/", include_in_schema=False)(page)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_malformed)
    app.exception_handler(Exception)(_failed)
    return app


async def inpaint(
    request: Request,
    image: Annotated[UploadFile, File(description="The photo: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF.")],
    hole: Annotated[UploadFile | None, File(description="A picture of the hole, of the photo's size.")] = None,
    mask: Annotated[UploadFile | None, File(description="Another name of `hole`, as other tools call it.")] = None,
    hole_is: Annotated[Literal["white", "black"], Form(description="The colour that means missing.")] = "white",
    hole_at: Annotated[
        str, Form(pattern=r"^([0-9]{1,6},[0-9]{1,6})?$", description="left,top of a smaller hole picture.")
    ] = "",
    boxes: Annotated[str, Form(description="left,top,right,bottom in pixels, separated by blanks: missing.")] = "",
    alpha: Annotated[bool, Form(description="What is transparent in the photo is missing.")] = False,
    patches: Annotated[
        list[UploadFile] | None, File(description="Earlier answers of the format patch, in order.")
    ] = None,
    patches_at: Annotated[
        str, Form(pattern=r"^([0-9]{1,6},[0-9]{1,6}( [0-9]{1,6},[0-9]{1,6})*)?$", description="left,top of each patch.")
    ] = "",
    model: Annotated[str, Form(description="A name of /v1/model; empty: the first.")] = "",
    grow: Annotated[int, Form(ge=0, le=MOST_GROW_PX, description="Pixels by which the hole is widened.")] = 0,
    feather: Annotated[int, Form(ge=0, le=MOST_FEATHER_PX, description="Pixels over which the answer fades.")] = 0,
    context: Annotated[float, Form(ge=0, le=8, description="Share of the hole around it that the model sees.")] = 0.5,
    max_side: Annotated[int, Form(ge=0, le=65536, description="The largest crop filled at once; 0: by model.")] = 0,
    detail: Annotated[
        bool | None, Form(description="Copy texture of the photo into the hole; empty: by model.")
    ] = None,
    format: Annotated[AnswerFormat, Form(description="keep: the photo's own; patch: only what changed, PNG.")] = "png",  # noqa: A002
    quality: Annotated[int | None, Form(ge=1, le=100, description="Of JPEG; empty: as the photo.")] = None,
) -> Response:
    """Fill the hole of a photo.

    The answer has the photo's size, profile and transparency. What lies farther than `grow` + `feather` from the hole
    is the photo's, to the bit (in a lossless format).
    """
    inpainter = _picked(request.app.state.served, model)
    if hole and mask:
        raise ApiError(422, "bad_request", "send `hole` or `mask`, which mean the same, not both")
    hole = hole or mask
    sent = patches or []
    places = [_pair(each) for each in patches_at.split()]
    if len(places) != len(sent) or len(sent) > MOST_PATCHES:
        raise ApiError(422, "bad_request", f"{len(sent)} patches came with {len(places)} places in `patches_at`")
    try:
        asked = Asked(
            image=await image.read(),
            hole=await hole.read() if hole else b"",
            hole_at=_pair(hole_at) if hole_at else None,
            hole_is=hole_is,
            boxes=boxes,
            alpha=alpha,
            patches=[(await patch.read(), at) for patch, at in zip(sent, places, strict=True)],
            settings=Settings(grow, feather, context, max_side, detail),
            format=format,
            quality=quality,
        )
    except ValueError as error:
        raise ApiError(422, "bad_request", str(error)) from None
    return await _answer(request, asked, inpainter)


async def _answer(request: Request, asked: Asked, inpainter: Inpainter) -> Response:
    state = request.app.state
    try:
        answered = await state.turns.do(lambda: answer(asked, inpainter, state.limits.max_megapixels))
    except BadImageError as bad:
        raise ApiError(_STATUS.get(bad.code, 400), bad.code, bad.detail) from None
    except InpaintError as error:
        raise ApiError(422, "unusable_hole", str(error)) from None
    about = inpainter.about
    headers = {
        "X-Model-Name": about.name,
        "X-Model-Version": about.version,
        "X-Model-Digest": about.digest,
        "X-Inpaint-Report": json.dumps(answered.report),
        "Cache-Control": "no-store",
    }
    return Response(answered.content, media_type=answered.media_type, headers=headers)


def _picked(served: ModelManager, name: str) -> Inpainter:
    try:
        return served.pick(name)
    except KeyError as error:
        raise ApiError(404, "unknown_model", str(error.args[0])) from None
    except LookupError as error:
        raise ApiError(503, "not_ready", str(error), retry_after_s=5) from None


def _pair(text: str) -> tuple[int, int]:
    left, top = text.split(",")
    return int(left), int(top)


def describe(request: Request) -> dict[str, Any]:
    """Say which models answer, which version each is, and what was refused."""
    served, limits = request.app.state.served, request.app.state.limits
    said = {"max_bytes": limits.max_bytes, "max_megapixels": limits.max_megapixels}
    return {"default": served.names()[0] if served.names() else None, "models": served.describe(), "limits": said}


def example(name: str) -> FileResponse:
    """Send a photo to try things with."""
    path = examples.path(name)
    if path is None:
        raise ApiError(404, "not_found", f"there is no example {name!r}")
    return FileResponse(path)


def alive() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "alive"}


def ready(request: Request) -> dict[str, str]:
    """Say that a model is loaded and has passed its self-test."""
    return {"status": "ready", "model": _picked(request.app.state.served, "").about.name}


def page() -> FileResponse:
    """Send the page."""
    headers = {
        "Content-Security-Policy": _PAGE_POLICY,
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return FileResponse(PAGE, media_type="text/html", headers=headers)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ApiError):
        return error.response()
    status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "")
    headers = getattr(error, "headers", None)
    return JSONResponse({"error": _CODES.get(status, "failed"), "detail": str(detail)}, status, headers)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    said = "; ".join(f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in problems)
    return JSONResponse({"error": "bad_request", "detail": said}, 422)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "failed", "detail": f"the server failed: {type(error).__name__}"}, 500)


def serve(served: ModelManager, limits: Limits, host: str, port: int, allowed: list[str]) -> None:
    """Load the first model, say where the server is, and answer until interrupted.

    Raises:
        InputError: the first model cannot be loaded, or the port is taken.
    """
    served.load_first()
    hosts = ["127.0.0.1", "localhost", "::1", socket.gethostname(), *([host] if host not in ("0.0.0.0", "::") else [])]  # noqa: S104
    app = create_app(served, limits, [*hosts, *allowed])
    config = uvicorn.Config(app, host, port, log_level="warning", timeout_graceful_shutdown=10, server_header=False)
    listening = _listening(host, port)
    log(f"inpaint: http://{host}:{listening.getsockname()[1]} with {served.names()[0]} (Ctrl-C ends it)")
    uvicorn.Server(config).run([listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(
            f"port {port} of {host} cannot be used: {error.strerror}; say another --port or --host"
        ) from None
