"""The HTTP API: fields of requests and answers, and error statuses; /docs shows it."""

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, model_validator

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


class JsonRequest(Options):
    """A request as JSON, with pictures in base64."""

    image: Base64Bytes = Field(description="The photo.")
    hole: Base64Bytes | list[Base64Bytes] = Field([], description="A mask picture, or several of parts of it.")
    mask: Base64Bytes | list[Base64Bytes] = Field([], description="A synonym of `hole`.")
    patches: list[Base64Bytes] = Field([], description="Earlier answers in the format patch or patches, in order.")


class JsonAnswer(BaseModel):
    """A filled picture in base64, and its report."""

    image: str
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
PICTURE: dict[str, Any] = {
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}}
        for kind in ("image/png", "image/jpeg", "image/webp", "image/tiff", "image/bmp")
    },
    "description": "The picture; headers: X-Model-Name, X-Model-Version, X-Model-Digest, X-Inpaint-Report (JSON).",
}
