"""Refuses requests before anything is decoded: other origins, a wrong key, too many bytes, a full queue.

Every error is JSON: {"error": code, "detail": text}.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
from anyio.to_thread import run_sync
from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.serving.limits import Limits
from stages.serving.worker import Worker, WorkerRetiredError

T = TypeVar("T")

QUEUED = "/v1/inpaint"  # prefix of the paths whose requests wait in the queue
_OPEN = ("/", "/healthz", "/readyz", "/docs", "/openapi.json")  # need no API key: they reveal nothing private
_OPEN_BELOW = ("/v1/examples", "/static-offline-docs/")
_DRAIN_S = 5.0
_STALL_S = 10.0  # without a byte of a body
_PORTS = {"http": 80, "https": 443}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class ApiError(HTTPException):
    """An error for the client.

    Attributes:
        code: a stable word.
    """

    def __init__(self, status: int, code: str, detail: str, retry_after_s: int | None = None) -> None:
        headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
        super().__init__(status, detail, headers)
        self.code = code

    def response(self) -> JSONResponse:
        """Return the error as JSON."""
        return JSONResponse({"error": self.code, "detail": self.detail}, self.status_code, self.headers)


@dataclass(frozen=True)
class Access:
    """Who may use the server.

    Attributes:
        hosts: accepted values of the Host header.
        key: API key for everything but the page, its examples, the documentation and health checks; "": none.
        origins: other origins whose pages may use the server.
    """

    hosts: Sequence[str]
    key: str = ""
    origins: Sequence[str] = ()


class JobQueue:
    """Runs jobs one at a time, with a bounded number of waiting requests and a timeout.

    Args:
        limits: how many requests may wait, and how long a request may take, including the wait.
        worker: returns the worker process, None while one is being started.

    Attributes:
        places: acquired when a request's body has arrived, released when its job ends.
    """

    def __init__(self, limits: Limits, worker: Callable[[], Worker | None]) -> None:
        self.places = anyio.CapacityLimiter(limits.queue + 1)
        self._timeout_s = limits.timeout_s
        self._worker = worker
        self._turn = asyncio.Lock()

    async def do(self, work: Callable[[Worker], T], is_given_up: Awaitable[object]) -> T:
        """Run a job when its turn comes.

        Args:
            work: called in a thread with the worker process, which is killed if the job takes too long.
            is_given_up: completes when the client has disconnected.

        Raises:
            ApiError: the time is up, or the client has disconnected.
            WorkerEndedError: the process ended.
        """
        job, given_up = asyncio.create_task(self._in_turn(work)), asyncio.ensure_future(is_given_up)
        try:
            await asyncio.wait([job, given_up], timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if job.done():
                return job.result()
        finally:
            for task in (job, given_up):
                task.cancel()
        await asyncio.wait([job])
        if given_up.done() and not given_up.cancelled():
            raise ApiError(499, "given_up", "the client has gone")
        raise ApiError(503, "too_slow", f"not answered within {self._timeout_s:g} s; send less or try again", 5)

    async def _in_turn(self, work: Callable[[Worker], T]) -> T:
        async with self._turn:
            while True:
                while (worker := self._worker()) is None:
                    await asyncio.sleep(0.05)
                try:
                    return await run_sync(work, worker, abandon_on_cancel=True)
                except WorkerRetiredError:  # a moment ago: ask its successor
                    continue
                except asyncio.CancelledError:
                    worker.kill()
                    raise


class RequestGuard:
    """Middleware that checks origin, key, size and duration of requests, and takes a place in the queue.

    Args:
        app: answers accepted requests.
        limits: of requests.
        queue: of fill requests.
        access: who may use the server.
        requests: counts fill requests by status.
    """

    def __init__(self, app: ASGIApp, limits: Limits, queue: JobQueue, access: Access, requests: Counter) -> None:
        self._app = app
        self._limits = limits
        self._queue = queue
        self._requests = requests
        self._key = access.key.encode()
        self._origins = access.origins
        self._sizes: dict[object, int] = {}  # of the bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        root, method = scope.get("root_path", ""), scope["method"]
        path = scope["path"].removeprefix(root)
        if root and path.startswith(f"{root}/") and root != "/v1":  # no proxy has taken the prefix away
            path = path.removeprefix(root)
        # The server sends no body in answer to HEAD.
        scope = {**scope, "path": root + path, "method": "GET" if method == "HEAD" else method}
        is_queued = method == "POST" and path.startswith(QUEUED)
        send = self._decorated(send, is_queued)
        place = object()
        scope.setdefault("state", {})["leave"] = lambda: self._leave(place)
        try:
            self._check(path, Headers(scope=scope))
            if is_queued and not self._queue.places.available_tokens:
                raise self._busy()
            await self._app(scope, self._counted(receive, place, is_queued), send)
        except ApiError as refusal:
            await _drained(scope, receive)
            await refusal.response()(scope, receive, send)
        finally:
            self._leave(place)
            self._sizes.pop(place, None)

    def _enter(self, place: object) -> None:
        try:
            self._queue.places.acquire_on_behalf_of_nowait(place)
        except anyio.WouldBlock:
            raise self._busy() from None

    def _busy(self) -> ApiError:
        detail = f"{self._limits.queue + 1} pictures are being filled or waiting; try again"
        return ApiError(503, "busy", detail, retry_after_s=1)

    def _leave(self, place: object) -> None:
        if place in self._queue.places.statistics().borrowers:
            self._queue.places.release_on_behalf_of(place)

    def _check(self, path: str, headers: Headers) -> None:
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin and origin not in self._origins and _place(origin) != _place(origin, host):
            raise ApiError(403, "foreign_origin", f"pages of {origin} may not use this server; see --allow-origin")
        if self._key and path not in _OPEN and not path.startswith(_OPEN_BELOW):
            sent = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key", "")
            if not hmac.compare_digest(sent.encode(), self._key):
                raise ApiError(401, "wrong_key", "send the server's key as `Authorization: Bearer KEY` or `X-API-Key`")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limits.max_bytes:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        return ApiError(413, "too_large", f"a request may have at most {self._limits.max_bytes / 1e6:g} MB")

    def _decorated(self, send: Send, is_queued: bool) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                if is_queued:
                    self._requests.labels(message["status"]).inc()
                for name, value in _HEADERS.items():
                    MutableHeaders(scope=message).setdefault(name, value)
            await asyncio.wait_for(send(message), self._limits.timeout_s)  # a slow reader is cut off

        return sent

    def _counted(self, receive: Receive, place: object, is_queued: bool) -> Receive:
        """Bound size and time of a body, and the bytes of all bodies; a whole one enters the queue."""
        timeout_s = self._limits.timeout_s
        size, ends, whole = 0, time.monotonic() + timeout_s, False

        async def limited() -> Message:
            nonlocal size, whole
            if whole:  # the answer has a timeout of its own
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(_STALL_S, ends - time.monotonic())))
            except TimeoutError:
                late = time.monotonic() >= ends
                what = f"took longer than {timeout_s:g} s to arrive" if late else f"stopped for {_STALL_S:g} s"
                raise ApiError(408, "too_slow", f"the request {what}") from None
            self._sizes[place] = size = size + len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self._limits.max_bytes:
                raise self._too_large()
            if sum(self._sizes.values()) > (self._limits.queue + 1) * self._limits.max_bytes:
                raise self._busy()
            if whole and is_queued:
                self._enter(place)
            return message

        return limited


async def _drained(scope: Scope, receive: Receive) -> None:
    """Read the rest of a body, unless the client expects a go-ahead: many clients cut off would miss the answer."""
    if "expect" not in Headers(scope=scope):
        with anyio.move_on_after(_DRAIN_S):
            while (await receive()).get("more_body", False):
                pass


def _place(origin: str, host: str = "") -> tuple[str | None, int | None] | None:
    """Return host name and port of an origin, or of a Host header under the origin's scheme."""
    try:
        scheme, place = urlsplit(origin).scheme, urlsplit(f"//{host}" if host else origin)
        return place.hostname, place.port or _PORTS.get(scheme)
    except ValueError:
        return None
