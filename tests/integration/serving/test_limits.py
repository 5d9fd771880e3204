"""What a server refuses, ends or survives: full queues, stalled bodies, too little time or memory, processes killed."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
import requests
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from stages.serving import app as module
from stages.serving import request_guard
from stages.serving.app import create_app
from stages.serving.limits import Limits
from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import Access
from tests.integration.serving.asking import HOLE, LIMITS, PHOTO, ask, png, process, server
from tests.tracked import wait_for


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 50_000):
        yield b"x" * 50_000


def test_a_body_of_unsaid_length_is_counted_as_it_comes(client: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        yield from chunks(1_000_000)

    answer = client.post("/v1/inpaint", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def test_who_comes_to_a_full_queue_is_told_so_before_a_body_is_read() -> None:
    with ThreadPoolExecutor(2) as pool, server(Limits(queue=1, timeout_s=60)) as client:
        filler = process(client)
        filler.suspend()
        waiting = [pool.submit(ask, client) for _ in range(2)]
        wait_for(lambda: client.app.state.queue.places.borrowed_tokens == 2, 10)
        refused = ask(client, b"no picture, of which nobody looks")
        filler.resume()
        assert (refused.status_code, refused.json()["error"]) == (503, "busy")
        assert refused.headers["retry-after"] == "1"
        assert [each.result(30).status_code for each in waiting] == [200, 200]


def test_what_takes_too_long_is_ended_and_the_server_goes_on() -> None:
    with server(Limits(timeout_s=1.5)) as client:
        filler = process(client)
        filler.suspend()
        late = ask(client)
        assert (late.status_code, late.json()["error"]) == (503, "too_slow")
        assert late.headers["retry-after"] == "5"
        assert not filler.is_running()
        wait_for(lambda: client.app.state.served.worker() is not None, 30)
        assert ask(client).status_code == 200


def test_a_process_that_is_killed_costs_one_request() -> None:
    with ThreadPoolExecutor(1) as pool, server(Limits(timeout_s=60)) as client:
        filler = process(client)
        filler.suspend()
        answer = pool.submit(ask, client)
        wait_for(lambda: client.app.state.queue.places.borrowed_tokens == 1, 10)
        filler.kill()
        said = answer.result(30)
        assert (said.status_code, said.json()["error"]) == (500, "failed")
        assert "SIGKILL" in said.json()["detail"]
        assert ask(client).status_code == 200


def test_a_request_that_meets_a_process_just_replaced_is_answered_by_the_next() -> None:
    with server(Limits(timeout_s=60)) as client:
        served = client.app.state.served
        old = served.worker()
        served._take({})
        workers = iter([old, served.worker()])
        client.app.state.queue._worker = lambda: next(workers)
        assert ask(client).status_code == 200
        assert next(workers, None) is None


@pytest.mark.parametrize("megabytes", [350, 600])  # too few for the equation, and for its factors
def test_a_fill_that_takes_more_memory_than_there_is_costs_one_request(megabytes: int) -> None:
    """A biharmonic fill solves an equation with one unknown a missing pixel; SciPy's solver crashes without memory."""
    photo = np.zeros((1000, 1000, 3), np.uint8)
    hole = np.zeros((1000, 1000), np.uint8)
    hole[::2] = 255
    limits = Limits(memory_bytes=megabytes * 1_000_000, timeout_s=60)
    with server(limits, "biharmonic") as client:
        answer = ask(client, png(photo), png(hole), max_side=limits.most_side)
        assert (answer.status_code, answer.json()["error"]) in {(413, "too_much_memory"), (500, "failed")}
        assert "memory" in answer.json()["detail"]
        wait_for(lambda: client.app.state.served.worker() is not None, 30)
        assert ask(client).status_code == 200


def test_all_pictures_of_a_request_are_counted_before_one_is_decoded(client: TestClient) -> None:
    whole = png(np.zeros((700, 700, 3), np.uint8))
    files = [("image", whole), *[("patches", whole)] * 3]
    answer = client.post("/v1/inpaint", files=files, data={"patches_at": "0,0 0,0 0,0"})
    assert (answer.status_code, answer.json()["error"]) == (413, "too_many_pixels")
    assert "2.0 megapixels in all pictures, more than the 1.5 allowed" in answer.json()["detail"]


def test_who_has_gone_is_not_worked_for() -> None:
    """The page's Cancel closes its connection."""
    with server(Limits(timeout_s=60)) as client:
        client.app.state.served._stopped.set()  # nothing is started anew: the process that is killed is seen
        filler = process(client)
        filler.suspend()
        body = client.build_request("POST", "/v1/inpaint", files={"image": png(PHOTO), "hole": HOLE})
        messages = [{"type": "http.request", "body": body.read()}, {"type": "http.disconnect"}]
        headers = [(name.lower(), value) for name, value in body.headers.raw]
        scope = {"type": "http", "method": "POST", "path": "/v1/inpaint", "query_string": b"", "headers": headers}

        async def receive() -> dict[str, object]:
            return messages.pop(0)

        async def send(message: dict[str, object]) -> None:
            pass

        client.portal.call(client.app, scope, receive, send)
        assert not filler.is_running()
        assert client.app.state.queue.places.borrowed_tokens == 0


def test_a_connection_on_which_nothing_comes_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        running = uvicorn.Server(uvicorn.Config(FastAPI(), http=module.IdleClosingProtocol, log_level="error"))
        done = pool.submit(running.run, [listening])
        with socket.create_connection(listening.getsockname(), timeout=20) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(listening.getsockname(), timeout=20) as half:
            half.sendall(b"GET / HTTP/1.1\r\nHost: a")
            assert half.recv(1) == b""
        running.should_exit = True
        done.result(20)


def test_bodies_that_stop_take_no_places_and_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_guard, "_STALL_S", 2)
    head = b"POST /v1/inpaint/json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    served = ModelManager(["telea"], None, 60, LIMITS)
    served.load_first()
    app = create_app(served, LIMITS, Access(["*"]))
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool, ExitStack() as opened:
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        opened.callback(setattr, running, "should_exit", True)
        pool.submit(running.run, [listening])
        address = listening.getsockname()
        stopped = [opened.enter_context(socket.create_connection(address, timeout=20)) for _ in range(4)]
        for each in stopped:
            each.sendall(head)
        answer = requests.post(
            f"http://127.0.0.1:{address[1]}/v1/inpaint", files={"image": png(PHOTO), "hole": HOLE}, timeout=20
        )
        assert answer.status_code == 200
        assert all(b"408" in each.recv(100).splitlines()[0] for each in stopped)
