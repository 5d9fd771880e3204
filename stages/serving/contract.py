"""What the server promises: what requests and answers are made of, the kinds of errors; /docs shows it."""

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, model_validator

from stages.inpainting.cropping import MOST_FEATHER_PX, MOST_GROW_PX
from stages.serving.fill_request import AnswerFormat


class ErrorAnswer(BaseModel):
    """Why a request was not answered: a code that does not change, and words."""

    error: str
    detail: str


Places = Annotated[str, Field(pattern=r"^([0-9]{1,6},[0-9]{1,6}( [0-9]{1,6},[0-9]{1,6})*)?$")]


class Options(BaseModel):
    """How a hole is filled and answered, beside the pictures. `mask_is` and `mask_at` are `hole_is` and `hole_at`."""

    model_config = ConfigDict(extra="forbid")

    hole_is: Literal["white", "black"] = Field("white", description="The colour that means missing.")
    hole_at: Places = Field("", description="left,top of each hole picture, where they are of parts of the photo.")
    boxes: str = Field("", description="left,top,right,bottom in pixels, separated by blanks: missing.")
    alpha: bool = Field(False, description="What is transparent in the photo is missing.")
    patches_at: Places = Field("", description="left,top of each patch.")
    model: str = Field("", description="A name of /v1/model; empty: the first.")
    grow: int = Field(0, ge=0, le=MOST_GROW_PX, description="Pixels by which the hole is widened.")
    feather: int = Field(0, ge=0, le=MOST_FEATHER_PX, description="Pixels over which the answer fades.")
    context: float = Field(0.5, ge=0, le=8, description="Share of the hole around it that the model sees.")
    max_side: int = Field(0, ge=0, description="The largest crop filled at once; 0: by model.")
    detail: bool | None = Field(None, description="Copy texture of the photo into the hole; empty: by model.")
    format: AnswerFormat = Field("png", description="keep: the photo's own; patch, patches: only what changed.")
    quality: int | None = Field(None, ge=1, le=100, description="Of JPEG; empty: as the photo.")

    @model_validator(mode="before")
    @classmethod
    def _by_another_name(cls, sent: Any) -> Any:
        """Rename, except a field that came by both names, which is refused as unknown."""
        if not isinstance(sent, dict):
            return sent
        other = {name: name.replace("mask_", "hole_") for name in ("mask_is", "mask_at")}
        return {name if other.get(name, name) in sent else other[name]: value for name, value in sent.items()}


class Upload(Options):
    """A request as a form."""

    image: UploadFile = Field(description="The photo: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF.")
    hole: list[UploadFile] = Field(
        [], description="A picture of the hole, of the photo's size, or several of its parts."
    )
    mask: list[UploadFile] = Field([], description="Another name of `hole`, as other tools call it.")
    patches: list[UploadFile] = Field([], description="Earlier answers of the formats patch and patches, in order.")


class JsonRequest(Options):
    """A request as JSON, its pictures in base64."""

    image: Base64Bytes = Field(description="The photo.")
    hole: Base64Bytes | list[Base64Bytes] = Field([], description="A picture of the hole, or several of its parts.")
    mask: Base64Bytes | list[Base64Bytes] = Field([], description="Another name of `hole`.")
    patches: list[Base64Bytes] = Field([], description="Earlier answers of the formats patch and patches, in order.")


class JsonAnswer(BaseModel):
    """A filled picture in base64, and what is to be said of it."""

    image: str
    media_type: str
    model: dict[str, str]
    report: dict[str, Any]


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": said}
    for status, said in {
        400: "not a picture, or one that is damaged",
        401: "without the server's key",
        403: "asked by a page of another server",
        404: "no such model",
        408: "sent too slowly",
        413: "too many bytes or pixels, or more memory than there is",
        422: "no hole, a hole of another size, an unknown field, a value out of range",
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
