"""What is refused before anything is decoded: pages of other origins, strangers, too many bytes, a full queue.

Every refusal is JSON: {"error": code, "detail": text}.
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

QUEUED = "/v1/inpaint"  # begins the paths whose requests wait in the queue
_OPEN = ("/", "/healthz", "/readyz", "/docs", "/openapi.json")  # without an API key; they say nothing of anybody's
_OPEN_BELOW = ("/v1/examples", "/static-offline-docs/")
_DRAIN_S = 5.0
_PORTS = {"http": 80, "https": 443}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class ApiError(HTTPException):
    """A request that is not answered.

    Attributes:
        code: a word that does not change.
    """

    def __init__(self, status: int, code: str, detail: str, retry_after_s: int | None = None) -> None:
        headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
        super().__init__(status, detail, headers)
        self.code = code

    def response(self) -> JSONResponse:
        """Return it as JSON."""
        return JSONResponse({"error": self.code, "detail": self.detail}, self.status_code, self.headers)


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: names by which this machine may be called.
        key: for all but the page, its examples, the documentation and health; "": none is needed.
        origins: of pages elsewhere.
    """

    hosts: Sequence[str]
    key: str = ""
    origins: Sequence[str] = ()


class JobQueue:
    """Work that is done one at a time; those who wait are counted, and what takes too long is ended.

    Args:
        limits: how many may wait, and how long waiting and work may take together.
        worker: returns the process that works, None while one is being started.

    Attributes:
        places: taken before a request's body is read, given back when its work has ended.
    """

    def __init__(self, limits: Limits, worker: Callable[[], Worker | None]) -> None:
        self.places = anyio.CapacityLimiter(limits.queue + 1)
        self._timeout_s = limits.timeout_s
        self._worker = worker
        self._turn = asyncio.Lock()

    async def do(self, work: Callable[[Worker], T], is_given_up: Awaitable[object]) -> T:
        """Do the work in its turn.

        Args:
            work: done in a thread with the process, which is killed if that takes too long.
            is_given_up: ends when nobody waits for the answer any more.

        Raises:
            ApiError: the time was up, or the answer is not wanted any more.
            WorkerEndedError: the process ended by itself.
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
                except WorkerRetiredError:  # at this very moment
                    continue
                except asyncio.CancelledError:
                    worker.kill()
                    raise


class RequestGuard:
    """Lets in requests of the server's own pages or of allowed ones, with the key, of limited size, in limited time.

    Args:
        app: what answers.
        limits: what a request may cost.
        queue: where requests that fill pictures wait.
        access: who may ask.
        requests: counts those that fill pictures, by the answer's status.
    """

    def __init__(self, app: ASGIApp, limits: Limits, queue: JobQueue, access: Access, requests: Counter) -> None:
        self._app = app
        self._limits = limits
        self._queue = queue
        self._requests = requests
        self._key = access.key.encode()
        self._origins = access.origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        is_queued = scope["method"] == "POST" and path.startswith(QUEUED)
        send = self._decorated(send, is_queued)
        place = object()
        scope.setdefault("state", {})["leave"] = lambda: self._leave(place)
        try:
            self._check(path, Headers(scope=scope))
            if is_queued:
                self._queue.places.acquire_on_behalf_of_nowait(place)
            await self._app(scope, self._counted(receive), send)
        except anyio.WouldBlock:
            await _drained(scope, receive)
            said = f"{self._limits.queue + 1} pictures are being filled or waiting; try again"
            await ApiError(503, "busy", said, retry_after_s=1).response()(scope, receive, send)
        except ApiError as refusal:
            await _drained(scope, receive)
            await refusal.response()(scope, receive, send)
        finally:
            self._leave(place)

    def _leave(self, place: object) -> None:
        if place in self._queue.places.statistics().borrowers:
            self._queue.places.release_on_behalf_of(place)

    def _check(self, path: str, headers: Headers) -> None:
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin and origin not in self._origins and _place(origin) != _place(origin, host):
            raise ApiError(403, "foreign_origin", f"pages of {origin} may not ask this server; see --allow-origin")
        if self._key and path not in _OPEN and not path.startswith(_OPEN_BELOW):
            sent = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key", "")
            if not hmac.compare_digest(sent.encode(), self._key):
                raise ApiError(401, "wrong_key", "send the server's key as `Authorization: Bearer KEY` or `X-API-Key`")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limits.max_bytes:
            raise self._too_large()

    def _too_large(self) -> ApiError:
        return ApiError(413, "too_large", f"a request may have {self._limits.max_bytes / 1e6:g} MB")

    def _decorated(self, send: Send, is_queued: bool) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                if is_queued:
                    self._requests.labels(message["status"]).inc()
                for name, value in _HEADERS.items():
                    MutableHeaders(scope=message).setdefault(name, value)
            await asyncio.wait_for(send(message), self._limits.timeout_s)  # who reads slowly gets no more

        return sent

    def _counted(self, receive: Receive) -> Receive:
        timeout_s = self._limits.timeout_s
        size, ends, whole = 0, time.monotonic() + timeout_s, False

        async def limited() -> Message:
            nonlocal size, whole
            if whole:  # the answer may take its own time
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError:
                raise ApiError(408, "too_slow", f"the request took longer than {timeout_s:g} s to arrive") from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self._limits.max_bytes:
                raise self._too_large()
            return message

        return limited


async def _drained(scope: Scope, receive: Receive) -> None:
    """Let a client end its sending, unless it waits to be asked: cut off, many would never see the answer."""
    if "expect" not in Headers(scope=scope):
        with anyio.move_on_after(_DRAIN_S):
            while (await receive()).get("more_body", False):
                pass


def _place(origin: str, host: str = "") -> tuple[str | None, int | None] | None:
    """Return the name and port of an origin, or of a host that is asked by the origin's scheme."""
    try:
        scheme, place = urlsplit(origin).scheme, urlsplit(f"//{host}" if host else origin)
        return place.hostname, place.port or _PORTS.get(scheme)
    except ValueError:
        return None
