"""The process that decodes and fills pictures, one request at a time: killed, its work ends and its memory comes back.

    worker = Worker([Source("telea", "telea")], device=None, limits=Limits())
    reply = worker.fill("telea", request)             # blocks; from another thread, worker.kill() ends it

Its models never change. What it answers travels as JSON and bytes, so that nothing it sends can run code here.
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
_KEPT_BYTES = 2**30  # what a job may leave behind before the process is replaced


@dataclass(frozen=True)
class Source:
    """Where the process finds a model.

    Attributes:
        model: what it was asked for as, such as models:/inpaint-pconv@champion.
        path: as for `inpainter.load`.
        about: of a registered model; None: what its file says.
    """

    model: str
    path: str
    about: About | None = None

    @property
    def version(self) -> str:
        """The version in the registry, "" elsewhere."""
        return self.about.version if self.about else ""


class WorkerEndedError(Exception):
    """The process ended before it had answered."""


class WorkerRetiredError(Exception):
    """Another process has taken over; it has the answer."""


class Worker:
    """A process with models in it.

    Args:
        sources: of the models. Of several sources of one model, the first that passes its self-test is used.
        device: of torch, or None for what the machine has.
        limits: what a request may cost.

    Attributes:
        loaded: what the models are, by what they were asked for as.
        refused: why a source was not used, likewise.

    Raises:
        InputError: the process does not start.
    """

    def __init__(self, sources: Sequence[Source], device: str | None, limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, list(sources), device, limits), name="filler", daemon=True
        )
        self._lock, self._is_retired = threading.Lock(), False
        self._process.start()
        theirs.close()
        if not self._connection.poll(_START_S):
            self.kill()
            raise InputError(f"the models were not loaded within {_START_S:g} s")
        try:
            said = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            self.kill()
            raise InputError(f"the process that loads the models ended: {self._how_it_ended()}") from None
        self.loaded = {model: About(**about) for model, about in said["loaded"].items()}
        self.refused: dict[str, dict[str, str]] = said["refused"]

    def fill(self, model: str, request: FillRequest) -> FillReply:
        """Have a photo filled, which blocks until it is.

        Args:
            model: a key of `loaded`.
            request: the photo, its mask and how to fill it.

        Raises:
            WorkerEndedError: the process was killed, by `kill` or for want of memory.
            WorkerRetiredError: it was retired before.
        """
        with self._lock:
            if self._is_retired:
                raise WorkerRetiredError
            try:
                self._connection.send((model, request))
                reply = FillReply(**json.loads(self._connection.recv_bytes()), content=self._connection.recv_bytes())
            except (EOFError, OSError):
                self.kill()
                raise WorkerEndedError(self._how_it_ended()) from None
        return reply

    def is_alive(self) -> bool:
        """Say whether it can answer."""
        return self._process.is_alive()

    def memory_bytes(self) -> int:
        """Return how much memory the process takes."""
        with suppress(psutil.Error):
            return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self._process.kill()
        self._process.join()

    def retire(self) -> None:
        """End it when it has answered what it is at."""
        with self._lock:
            self._is_retired = True
            self.kill()

    def _how_it_ended(self) -> str:
        code = self._process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _work(connection: Connection, sources: list[Source], device: str | None, limits: Limits) -> None:
    """Load the models and answer until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Control-C is the server's; it ends this process in its own time
    _bound_memory(limits.memory_bytes)
    loaded, refused = _load(sources, device)
    said = {"loaded": {model: asdict(each.about) for model, each in loaded.items()}, "refused": refused}
    connection.send_bytes(json.dumps(said).encode())
    at_rest = psutil.Process().memory_info().rss
    with suppress(EOFError, OSError):
        while True:
            model, request = connection.recv()
            reply = answer(request, loaded[model], limits)
            connection.send_bytes(json.dumps({"status": reply.status, "info": reply.info}).encode())
            connection.send_bytes(reply.content)
            del request, reply
            machine.return_freed_memory()
            if psutil.Process().memory_info().rss > at_rest + _KEPT_BYTES:
                return


def _bound_memory(most: int) -> None:
    """Have too large a request end in an error here, and this process be the first that a lack of memory kills."""
    with suppress(ValueError, OSError):  # a lower limit is set already; the system has none
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
        except Exception as error:  # a damaged file makes its reader raise almost anything
            words = str(error) if isinstance(error, InpaintError) else f"{type(error).__name__}: {error}"
            refused[source.model] = {"version": source.version, "reason": words}
    return loaded, refused


def _tested(source: Source, device: str | None, loaded: dict[str, Inpainter]) -> Inpainter:
    new = inpainter.load(source.path, device)
    new.about = source.about or new.about
    if taken := [model for model, other in loaded.items() if other.about.name == new.about.name]:
        raise InputError(f"{source.model} has the name {new.about.name!r}, as {taken[0]} has; serve one of them")
    new.self_test()
    return new
