"""The worker process, which decodes and fills pictures, one request at a time; killing it frees its memory.

    worker = Worker([Source("telea", "telea")], device=None, limits=Limits())
    reply = worker.fill("telea", request)             # blocks; another thread may call worker.kill()

Its models never change. Replies are JSON and bytes, so that nothing it sends can run code in the server.
"""

import json
import multiprocessing
import resource
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from stages.inpainting import inpainter
from stages.inpainting.inpainter import About, Inpainter
from stages.runtime import machine
from stages.runtime.errors import InpaintError, InputError
from stages.serving.fill_request import FillReply, FillRequest, answer
from stages.serving.limits import Limits

_START_S = 300.0  # for loading all models


@dataclass(frozen=True)
class Source:
    """A model and its files.

    Attributes:
        model: its specification, such as models:/inpaint-pconv@champion.
        path: as for `inpainter.load`.
        about: identity of a registered model; None: that in the model's file.
    """

    model: str
    path: str
    about: About | None = None

    @property
    def version(self) -> str:
        """The version in the registry, "" elsewhere."""
        return self.about.version if self.about else ""


class WorkerEndedError(Exception):
    """The process ended before it answered."""


class WorkerRetiredError(Exception):
    """Another process has replaced this one; ask that."""


class Worker:
    """A process with loaded models.

    Args:
        sources: of the models. Of several sources of one model, the first that passes its self-test is used.
        device: a torch device, or None for the default.
        limits: of requests.
        kept_bytes: growth after which the process is replaced.

    Attributes:
        loaded: identities of the loaded models, by their specification.
        refused: `version` and `reason` of sources that failed, by their specification.

    Raises:
        InputError: the process does not start, or does not load the models in time.
    """

    def __init__(self, sources: Sequence[Source], device: str | None, limits: Limits, kept_bytes: int = 2**30) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, list(sources), device, limits, kept_bytes), name="filler", daemon=True
        )
        self._lock, self._is_retired = threading.Lock(), False
        self._process.start()
        theirs.close()
        if not self._connection.poll(_START_S):
            self.kill()
            raise InputError(f"the models were not loaded within {_START_S:g} s")
        try:
            models = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            self.kill()
            raise InputError(f"the process that loads the models ended: {self._how_it_ended()}") from None
        self.loaded = {model: About(**about) for model, about in models["loaded"].items()}
        self.refused: dict[str, dict[str, str]] = models["refused"]

    def fill(self, model: str, request: FillRequest) -> FillReply:
        """Have the process fill a photo, and wait for its reply.

        Args:
            model: a key of `loaded`.
            request: the photo, its mask and how to fill it.

        Raises:
            WorkerEndedError: the process was killed, by `kill` or for lack of memory.
            WorkerRetiredError: `retire` was called before, or the process has grown too large and is ending.
        """
        with self._lock:
            if self._is_retired:
                raise WorkerRetiredError
            try:
                self._connection.send((model, request))
                said = json.loads(self._connection.recv_bytes())
                self._is_retired = said.pop("is_last")
                reply = FillReply(**said, content=self._connection.recv_bytes())
            except (EOFError, OSError):
                self.kill()
                raise WorkerEndedError(self._how_it_ended()) from None
        return reply

    def is_alive(self) -> bool:
        """Return whether the process runs and takes requests."""
        return self._process.is_alive() and not self._is_retired

    def memory_bytes(self) -> int:
        """Return the resident memory of the process, 0 if it has ended."""
        with suppress(psutil.Error):
            return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0

    def kill(self) -> None:
        """Kill the process at once."""
        self._process.kill()
        self._process.join()

    def retire(self) -> None:
        """Kill the process after its current reply."""
        with self._lock:
            self._is_retired = True
            self.kill()

    def _how_it_ended(self) -> str:
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _work(connection: Connection, sources: list[Source], device: str | None, limits: Limits, kept_bytes: int) -> None:
    """Load the models and answer until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Control-C, and ends this process
    _bound_memory(limits.memory_bytes)
    loaded, refused = _load(sources, device)
    identities = {model: asdict(inpainter.about) for model, inpainter in loaded.items()}
    connection.send_bytes(json.dumps({"loaded": identities, "refused": refused}).encode())
    at_rest = psutil.Process().memory_info().rss
    with suppress(EOFError, OSError):
        is_last = False
        while not is_last:
            model, request = connection.recv()
            reply = answer(request, loaded[model], limits)
            del request
            machine.return_freed_memory()
            # Said beforehand: a request that came while the process ends would be lost.
            is_last = psutil.Process().memory_info().rss > at_rest + kept_bytes
            said = {"status": reply.status, "info": reply.info, "is_last": is_last}
            connection.send_bytes(json.dumps(said).encode())
            connection.send_bytes(reply.content)
            del reply


def _bound_memory(most: int) -> None:
    """Make a too large request an error of this process, and this process the first that the kernel kills."""
    with suppress(ValueError, OSError):  # a lower limit is set, or the system has none
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _load(sources: list[Source], device: str | None) -> tuple[dict[str, Inpainter], dict[str, dict[str, str]]]:
    loaded: dict[str, Inpainter] = {}
    refused = {}
    for source in sources:
        if source.model in loaded:
            continue
        try:
            loaded[source.model] = _tested(source, device, loaded)
        except Exception as error:  # a damaged file may cause almost any
            reason = str(error) if isinstance(error, InpaintError) else f"{type(error).__name__}: {error}"
            refused[source.model] = {"version": source.version, "reason": reason}
    return loaded, refused


def _tested(source: Source, device: str | None, loaded: dict[str, Inpainter]) -> Inpainter:
    new = inpainter.load(source.path, device)
    new.about = source.about or new.about
    if taken := [model for model, other in loaded.items() if other.about.name == new.about.name]:
        raise InputError(f"{source.model} has the name {new.about.name!r}, as {taken[0]} has; serve only one of them")
    new.self_test()
    return new
