"""Coverage looks away while packages of others work for long: it would double their time, and sees nothing of ours."""

import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

PLACES = {
    "torch.export": ("", ("export", "load", "save")),
    "torch.onnx": ("", ("export",)),
    "matplotlib.figure": ("Figure", ("__init__", "savefig", "subplots")),
    "yaml": ("", ("safe_load", "safe_dump", "safe_load_all")),
    "jinja2": ("Environment", ("get_template",)),
    "mlflow.tracking.client": ("MlflowClient", ()),  # all that it offers
    "dvc.repo": ("Repo", ("__init__", "init", "status", "close")),
}
_done: set[str] = set()


def look_away() -> None:
    """Wrap what has been imported since it was last called, if anything watches."""
    if sys.gettrace() is None:
        return
    for name, (kind, calls) in PLACES.items():
        if name in _done or not isinstance(module := sys.modules.get(name), ModuleType):
            continue
        _done.add(name)
        owner = getattr(module, kind) if kind else module
        for call in calls or [each for each in vars(owner) if not each.startswith("_")]:
            if isinstance(plain := inspect.getattr_static(owner, call), FunctionType):
                setattr(owner, call, _untraced(plain))


def _untraced(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def untraced(*args: Any, **kwargs: Any) -> Any:
        if (tracer := sys.gettrace()) is None:
            return call(*args, **kwargs)
        sys.settrace(None)
        try:
            return call(*args, **kwargs)
        finally:
            sys.settrace(tracer)

    return untraced
