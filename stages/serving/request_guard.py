"""Who may ask the server, and how much: hosts, origins, bytes, seconds, and one picture at a time.

Whatever is refused here is refused before a picture is decoded, with JSON: {"error": code, "detail": text}.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")


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


class RequestGuard:
    """Lets in requests that name this machine, from its own pages, of limited size, sent in limited time.

    Args:
        app: what answers.
        hosts: names by which this machine may be called; a page elsewhere cannot lend it its own.
        max_bytes: of a request's body.
        timeout_s: for sending it.
    """

    def __init__(self, app: ASGIApp, hosts: list[str], max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refuse({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
        if refusal is not None:
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _refuse(self, headers: dict[str, str]) -> ApiError | None:
        host = _name(f"//{headers.get('host', '')}")
        if "*" not in self._hosts and host not in self._hosts:
            said = f"this server does not go by the name {host!r}; start it with --allow-host {host or 'NAME'}"
            return ApiError(400, "invalid_host", said)
        origin = headers.get("origin")
        if origin is not None and _name(origin) != host:
            return ApiError(403, "foreign_origin", f"pages of {origin} may not ask this server")
        if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > self._max_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> ApiError:
        return ApiError(413, "too_large", f"a request may have {self._max_bytes / 1e6:g} MB")

    def _counted(self, receive: Receive) -> Receive:
        size, ends, whole = 0, time.monotonic() + self._timeout_s, False

        async def limited() -> Message:
            nonlocal size, whole
            if whole:  # the answer may take its own time
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError:
                raise ApiError(
                    408, "too_slow", f"the request took longer than {self._timeout_s:g} s to arrive"
                ) from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self._max_bytes:
                raise self._too_large()
            return message

        return limited


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class JobQueue:
    """Work that is done one at a time, in a thread, by those who wait in a queue of limited length and time.

    Args:
        queue: requests that may wait beside the one that is worked on.
        timeout_s: seconds for waiting and work together.
    """

    def __init__(self, queue: int, timeout_s: float) -> None:
        self._room = queue + 1
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def do(self, work: Callable[[], T]) -> T:
        """Do the work when its turn has come.

        Raises:
            ApiError: the queue is full, or the time was up. What is begun is done to its end before the next one's
                turn.
        """
        if len(self._tasks) >= self._room:
            raise ApiError(
                503, "busy", f"{self._room} pictures are being filled or waiting; try again", retry_after_s=1
            )
        task = asyncio.create_task(self._in_turn(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        done, _ = await asyncio.wait([task], timeout=self._timeout_s)
        if not done:
            task.add_done_callback(_forgotten)
            task.cancel()
            raise ApiError(503, "too_slow", f"not answered within {self._timeout_s:g} s; send less or try again", 5)
        return task.result()

    async def _in_turn(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await run_in_threadpool(work)


def _forgotten(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()
