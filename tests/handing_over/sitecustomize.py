"""Lets a stage run in a process that has imported what it needs; see `tests.warm.warm_stages`.

Python imports this at its start, before anything else: the process hands its command, environment and files to a
server, and stays to pass signals on and to end as the other one ends.
"""

import os
import sys

ADDRESS = "INPAINT_WARM"
_COLD = {"stages.tracking"}  # it watches its parent, which for a forked process is the server


def _hand_over(address: str) -> None:
    import json
    import signal
    import socket
    from pathlib import Path

    said = json.dumps([sys.orig_argv, str(Path.cwd()), dict(os.environ)]).encode()
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    code = 1
    try:  # from here on the server runs the stage, and this process must not
        socket.send_fds(server, [len(said).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(said)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: server.sendall(bytes([number])))
        code = int.from_bytes(server.recv(2) or b"\x00\x01", "big", signed=True)
    except BaseException as error:
        sys.stderr.write(f"no answer from the server of stages: {error!r}\n")
        os._exit(code)
    if code < 0 and code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_stage(words: list[str]) -> bool:
    return words[1:2] == ["-m"] and words[2].startswith("stages.") and words[2] not in _COLD


if (address := os.environ.get(ADDRESS)) and _is_stage(sys.orig_argv):
    _hand_over(address)
