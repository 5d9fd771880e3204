"""What the server promises: limits, the kinds of errors, what an answer carries; /docs shows it."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


class ErrorAnswer(BaseModel):
    """Why a request was not answered: a code that does not change, and words."""

    error: str
    detail: str


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Attributes:
        max_bytes: of its body.
        max_megapixels: of each picture in it.
        timeout_s: for one answer, waiting included, and for sending the request.
        queue: requests that may wait while one is answered.
    """

    max_bytes: int = 64_000_000
    max_megapixels: float = 64
    timeout_s: float = 60
    queue: int = 8


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": said}
    for status, said in {
        400: "not a picture, or one that is damaged",
        403: "asked by a page of another server",
        404: "no such model",
        408: "sent too slowly",
        413: "too many bytes or pixels",
        422: "no hole, a hole of another size, a value out of range",
        500: "the server's own fault",
        503: "too many requests, or too long an answer; see Retry-After",
    }.items()
}
PICTURE: dict[str, Any] = {
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}}
        for kind in ("image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp")
    },
    "description": "The picture; X-Model-Name, X-Model-Version, X-Model-Digest and X-Inpaint-Report (JSON) say of it.",
}
