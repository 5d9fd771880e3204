"""Files in object storage and on other machines, by address: s3://bucket/folder, gs://, azure://, ssh://.

    for file in find("s3://bucket/photos"):
        content = file.read()

fsspec's drivers read them; credentials come from where the drivers look for them: environment, files in the home
folder, the machine's role.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from stages.runtime.errors import InputError

_ANSWER_S, _READ_S = 20, 60  # seconds to wait for an answer, and for a whole file
_LIST_ANEW: dict[str, Any] = {"use_listings_cache": False}
_OPTIONS = {"s3": _LIST_ANEW | {"max_concurrency": 1}, "gs": _LIST_ANEW, "azure": _LIST_ANEW}  # 1: of parts of a file
_FSSPEC_NAMES = {"azure": "az"}  # DVC's name for a kind of storage: fsspec's
_VERSIONS = ("etag", "ETag", "generation", "mtime", "LastModified")  # what drivers call the version of a file


class Remote(NamedTuple):
    """A file at an address.

    Attributes:
        folder: address of a folder that has it, without a slash at the end.
        name: relative to that folder.
        version: changes with the content: an etag, or else a time; "" if unknown.
    """

    folder: str
    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"

    def read(self) -> bytes:
        """Return the content.

        Raises:
            FileNotFoundError: there is no such file.
            PermissionError: it may not be read.
            InputError: the storage does not answer.
        """
        with _explained(self.folder):
            system, root = _open(self.folder)
            content: bytes = system.cat_file(f"{root}/{self.name}", **_timeout(system, _READ_S))
        return content


def is_address(path: str) -> bool:
    """Return whether a path is an address instead of one of this machine."""
    return "://" in path


def split(address: str) -> Remote:
    """Return the file at an address."""
    folder, _, name = address.rpartition("/")
    return Remote(folder, name)


def find(address: str) -> list[Remote]:
    """List all files in a folder, by name.

    Raises:
        InputError: it does not exist or may not be read, or the storage does not answer.
    """
    folder = address.rstrip("/")
    check(folder)
    with _explained(folder, missing=True):
        system, root = _open(folder)
        infos = system.find(root, detail=True)
    files = [
        Remote(folder, path.removeprefix(f"{root}/"), _version(info))
        for path, info in infos.items()
        if path.startswith(f"{root}/") and not path.endswith("/")  # which stands for a folder
    ]
    return sorted(files, key=lambda file: file.name.encode())


def check(address: str) -> None:
    """Ask for a file or folder, to learn within seconds whether it can be read.

    Raises:
        InputError: as for `find`.
    """
    with _explained(address, missing=True):
        system, root = _open(address)
        system.info(root, **_timeout(system, _ANSWER_S))


def _open(folder: str) -> tuple[Any, str]:
    """Return fsspec's file system, of which a process keeps one for each storage, and its name for the folder."""
    import fsspec

    scheme, _, path = folder.partition("://")
    system, root = fsspec.url_to_fs(f"{_FSSPEC_NAMES.get(scheme, scheme)}://{path}", **_OPTIONS.get(scheme, {}))
    return system, root.rstrip("/")


def _timeout(system: Any, seconds: float) -> dict[str, float]:
    return {"timeout": seconds} if system.async_impl else {}


def _version(info: dict[str, Any]) -> str:
    found = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return f"{found.strip(chr(34))} {info['size']}" if found else ""


@contextmanager
def _explained(address: str, missing: bool = False) -> Iterator[None]:
    """Turn a driver's errors into sentences; those of single files pass unless `missing`."""
    import fsspec

    scheme = address.partition("://")[0]
    last = scheme.rpartition("::")[2]  # of fsspec's chains, such as simplecache::s3
    if _FSSPEC_NAMES.get(last, last) not in fsspec.available_protocols():
        raise InputError(f"{address} has an unknown scheme; it should be an address such as s3://bucket/folder")
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        if not missing:
            raise
        what = "does not exist" if isinstance(error, FileNotFoundError) else f"may not be read ({_said(error)})"
        raise InputError(f"{address} {what}; correct `prepare.photos` in params.yaml, or the credentials") from None
    except ImportError:
        raise InputError(f"{address} needs a driver, which is not installed; run make {scheme}") from None
    except Exception as error:  # whatever a driver raises
        said = f"{address} cannot be reached ({_said(error)})"
        raise InputError(f"{said}; check network and credentials, then run it again") from None


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
