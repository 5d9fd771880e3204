"""The HTTP API: fields of requests and answers, and error statuses; /docs shows it."""

import re
from base64 import b64decode
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from stages.inpainting.cropping import MOST_FEATHER_PX, MOST_GROW_PX
from stages.serving.fill_request import AnswerFormat


class ErrorAnswer(BaseModel):
    """Why a request failed: a stable code, and a message."""

    error: str
    detail: str


Places = Annotated[str, Field(pattern=r"^([0-9]{1,6},[0-9]{1,6}( [0-9]{1,6},[0-9]{1,6})*)?$")]


class Options(BaseModel):
    """All fields but the pictures. `mask_is` and `mask_at` are synonyms of `hole_is` and `hole_at`."""

    model_config = ConfigDict(extra="forbid")

    hole_is: Literal["white", "black"] = Field("white", description="The colour that means missing.")
    hole_at: Places = Field("", description="left,top of each hole picture that covers only a part of the photo.")
    boxes: str = Field("", description="Missing boxes: left,top,right,bottom in pixels, separated by blanks.")
    alpha: bool = Field(False, description="The transparent pixels of the photo are missing.")
    patches_at: Places = Field("", description="left,top of each patch.")
    model: str = Field("", description="A model name from /v1/model; empty: the first.")
    grow: int = Field(0, ge=0, le=MOST_GROW_PX, description="Pixels by which to widen the hole.")
    feather: int = Field(0, ge=0, le=MOST_FEATHER_PX, description="Width in pixels of the blend into the photo.")
    context: float = Field(0.5, ge=0, le=8, description="Margin that the model sees, as a share of the hole's size.")
    max_side: int = Field(0, ge=0, description="Side of the largest crop in pixels; 0: chosen for the model.")
    detail: bool | None = Field(
        None, description="Copy texture from the photo into the hole; empty: with trained models."
    )
    format: AnswerFormat = Field("png", description="keep: that of the photo; patch, patches: only the changed pixels.")
    quality: int | None = Field(None, ge=1, le=100, description="JPEG quality; empty: that of the photo.")

    @model_validator(mode="before")
    @classmethod
    def _by_another_name(cls, sent: Any) -> Any:
        """Rename synonyms; a field sent under both names is refused as unknown."""
        if not isinstance(sent, dict):
            return sent
        other = {name: name.replace("mask_", "hole_") for name in ("mask_is", "mask_at")}
        return {name if other.get(name, name) in sent else other[name]: value for name, value in sent.items()}


class Upload(Options):
    """A request as a form."""

    image: UploadFile = Field(description="The photo: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF.")
    hole: list[UploadFile] = Field([], description="A mask picture of the photo's size, or several of parts of it.")
    mask: list[UploadFile] = Field([], description="A synonym of `hole`.")
    patches: list[UploadFile] = Field([], description="Earlier answers in the format patch or patches, in order.")


def _decoded(sent: Any) -> bytes:
    """Decode base64, also with line breaks or as a browser's data URL."""
    try:
        return b64decode("".join(_DATA_URL.sub("", sent, count=1).split()), validate=True)
    except (TypeError, ValueError):
        raise ValueError("should be a picture in base64, but is no base64") from None


def _as_list(sent: Any) -> Any:
    return ([sent] if sent else []) if isinstance(sent, str) else sent


def _as_text(boxes: Any) -> Any:
    if not isinstance(boxes, list):
        return boxes
    return " ".join(",".join(map(str, box)) if isinstance(box, list) else str(box) for box in boxes)


_DATA_URL = re.compile(r"\Adata:[^,]{0,200};base64,")
_BASE64 = {"type": "string", "format": "base64"}
_BOX = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 4, "maxItems": 4}
Picture = Annotated[bytes, BeforeValidator(_decoded), WithJsonSchema(_BASE64)]
Pictures = Annotated[
    list[Picture],
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [_BASE64, {"type": "array", "items": _BASE64}], "default": []}),
]
Boxes = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": _BOX}], "default": ""}),
]


class JsonRequest(Options):
    """A request as JSON, with pictures in base64 or as data URLs (`data:image/png;base64,...`)."""

    image: Picture = Field(description="The photo.")
    hole: Pictures = Field([], description="A mask picture, or several of parts of it.")
    mask: Pictures = Field([], description="A synonym of `hole`.")
    boxes: Boxes = Field("", description="Missing boxes: lists of left, top, right, bottom in pixels; or as in a form.")
    patches: list[Picture] = Field([], description="Earlier answers in the format patch or patches, in order.")


class JsonAnswer(BaseModel):
    """A filled picture in base64, and its report; with the format patches, these instead of a picture."""

    image: str = Field("", description="The picture in base64.")
    patches: list[dict[str, Any]] = Field([], description="`left`, `top` and `image`, a PNG in base64.")
    media_type: str
    model: dict[str, str]
    report: dict[str, Any]


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in {
        400: "not a picture, or a damaged one",
        401: "missing or wrong API key",
        403: "request from a page of another origin",
        404: "no such model",
        408: "the request arrived too slowly",
        413: "too many bytes or pixels, or not enough memory",
        422: "no hole, a hole of another size, an unknown field, or a value out of range",
        500: "internal error",
        503: "too many requests, or the answer took too long; see Retry-After",
    }.items()
}
_WORDS = {  # of a problem that Pydantic or FastAPI finds, by its type; the others begin with "Input should"
    "extra_forbidden": "is no field; see /docs",
    "missing": "is missing",
    "string_pattern_mismatch": "should be left,top of each picture, such as 10,20 300,40",
}


def in_words(problems: Sequence[dict[str, Any]]) -> str:
    """Say in words what is wrong with a request, given the errors of Pydantic."""
    return "; ".join(map(_in_words, problems))


def _in_words(problem: dict[str, Any]) -> str:
    kind, place, message = problem["type"], problem["loc"][1:], str(problem["msg"]).removeprefix("Value error, ")
    if kind == "json_invalid":
        return f"the body is no JSON: {problem['ctx']['error']} at character {place[0]}"
    if not place:
        return (
            'the body should be a JSON object, sent as application/json: {"image": "...", "boxes": [[40,60,200,120]]}'
        )
    if "UploadFile" in message:
        message = "should be a file, as curl's -F image=@photo.jpg sends it"
    return f"`{'.'.join(map(str, place))}` {_WORDS.get(kind, message.replace('Input should', 'should'))}"


PICTURE: dict[str, Any] = {
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}}
        for kind in ("image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp")
    },
    "description": "The picture; headers: X-Model-Name, X-Model-Version, X-Model-Digest, X-Inpaint-Report (JSON).",
}
