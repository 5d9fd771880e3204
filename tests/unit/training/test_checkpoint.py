"""A state that does not fit is refused whole, and none brings code along."""

import pickle
from pathlib import Path
from threading import Semaphore, Thread

import pytest
import torch

from stages.pconv.module import PConvModule, PConvSettings
from stages.runtime.errors import InputError
from stages.training import checkpoint
from tests.factories import UNET


class Payload:
    """What a doctored file would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.mark,)  # type: ignore[return-value]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None
    state = {"training": tmp_path.name, "step": 3, "module": PConvModule(PConvSettings(**UNET)).state_dict()}
    checkpoint.write_state(tmp_path / "checkpoint.pt", state)
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded["step"] == 3
    PConvModule(PConvSettings(**UNET)).load_state_dict(loaded["module"])


@pytest.mark.parametrize("whose", ["a larger network", "this one, but for a tensor"])
def test_weights_are_never_restored_in_part(whose: str) -> None:
    settings = PConvSettings(**UNET)
    module = PConvModule(settings)
    state = PConvModule(PConvSettings(**(UNET | {"levels": 3}))).state_dict()
    if whose != "a larger network":
        state = dict(list(module.state_dict().items())[1:])
    with pytest.raises(RuntimeError, match=r"Missing key|Unexpected key|size mismatch"):
        module.load_state_dict(state)


def test_a_state_of_another_training_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    checkpoint.write_state(tmp_path / "one" / checkpoint.FILE, {"training": "other", "step": 3})
    with pytest.raises(InputError, match="another training, other"):
        checkpoint.load(tmp_path / "one")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint.pt cannot be read.*delete its folder"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, write: str) -> None:
    mark = tmp_path / "mark"
    if write == "torch":
        torch.save({"step": Payload(mark)}, tmp_path / "checkpoint.pt")
    else:
        (tmp_path / "checkpoint.pt").write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(tmp_path)
    assert not mark.exists()


def test_checkouts_that_train_the_same_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, calls, order = tmp_path / ".resume/1234", Semaphore(0), list[str]()
    monkeypatch.setattr(checkpoint, "_POLL_S", 0.01)

    def second() -> None:
        with checkpoint.held(state, waiting=calls.release):  # by which the processes of a training know that it waits
            order.append("second")

    assert not checkpoint.is_held(state)
    with checkpoint.held(state):
        assert checkpoint.is_held(state)
        (other := Thread(target=second)).start()
        assert all(calls.acquire(timeout=30) for _ in range(3))
        order.append("first")
    other.join(30)
    assert order == ["first", "second"]
    assert not any((tmp_path / ".locks").iterdir())
