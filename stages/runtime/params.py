"""params.yaml: read by section and validated into frozen models.

class AugmentParams(Settings):
    copies: int = Field(ge=0)

params = read("augment", AugmentParams)
seed = read_seed()
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stages.runtime.errors import ParamsError

PARAMS_FILE = "params.yaml"

T = TypeVar("T")


class Settings(BaseModel):
    """Base class for a section of params.yaml: no unknown key, no missing key, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read(section: str, kind: type[T], path: str | Path = PARAMS_FILE) -> T:
    """Read one section or one value of the params file.

    Args:
        section: dotted name, e.g. "train.pconv" or "seed".
        kind: a subclass of `Settings`, or a plain type.
        path: the params file, YAML.

    Raises:
        ParamsError: the file or section is missing, a key is unknown or missing, or a value is out of range.
    """
    value = _section(_load(Path(path)), section, path)
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(problem, section, kind, path) for problem in error.errors())) from None


def read_seed(path: str | Path = PARAMS_FILE) -> int:
    """Read `seed`, from which all random numbers of all stages are derived.

    Raises:
        ParamsError: it is missing or not an integer from 0 to 2^32 - 1.
    """
    return read("seed", Annotated[int, Field(ge=0, lt=2**32)], path)  # type: ignore[arg-type]  # Annotated is a type, too


def read_tile_size(path: str | Path = PARAMS_FILE) -> int:
    """Read `tile_size`, the side of all training and test tiles in pixels.

    Raises:
        ParamsError: it is missing or not an integer from 8 to 4096.
    """
    return read("tile_size", Annotated[int, Field(ge=8, le=4096)], path)  # type: ignore[arg-type]  # Annotated is a type, too


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing in {Path.cwd()}; run stages in the project's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path} should contain sections such as `prepare:`, but contains {type(content).__name__}")
    return content


def _section(content: dict[str, Any], section: str, path: str | Path) -> Any:
    value: Any = content
    for depth, key in enumerate(section.split("."), start=1):
        if not isinstance(value, dict) or key not in value:
            wanted = ".".join(section.split(".")[:depth])
            known = [str(k) for k in value] if isinstance(value, dict) else []
            raise ParamsError(f"{path}: `{wanted}` is missing{_did_you_mean(key, known)}")
        value = value[key]
    return value


def _explain(problem: Any, section: str, kind: Any, path: str | Path) -> str:
    where = ".".join([section, *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        known = list(getattr(kind, "model_fields", {})) if len(problem["loc"]) == 1 else []
        hint = _did_you_mean(key, known) or (f"; known keys: {', '.join(known)}" if known else "")
        return f"{path}: `{where}` is not a known key{hint}"
    if problem["type"] == "missing":
        return f"{path}: `{where}` is missing"
    what = "" if isinstance(problem["input"], dict) else f" is {problem['input']!r}"
    return f"{path}: `{where}`{what}: {problem['msg'].removeprefix('Value error, ')}"


def _did_you_mean(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
