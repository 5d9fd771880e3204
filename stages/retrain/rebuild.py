"""Trains a registered version again from its tags alone, and compares the weights.

    inpaint model rebuild models:/inpaint-pconv/3

The tags name the commit, the stage and the hashes of the stage's inputs. These come from the DVC cache or the remote;
if neither has them, the earlier stages make them again, and the version that it started from comes from the registry.
Then the training runs from the beginning.

On the same kind of CPU with the same packages the weights are bitwise equal. Another kind of CPU, or a GPU, sums in
another order; the result then says how far the predictions differ.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages import start
from stages.retrain.worktree import LOCK, Worktree
from stages.runtime import files, guard
from stages.runtime.errors import InputError
from stages.runtime.log import log
from stages.tracking import versions
from stages.tracking.record import NO_PARENT
from stages.tracking.versions import OUTPUT, Version
from stages.training.settings import START

_TREE = Path(".retrain/rebuild")


@dataclass(frozen=True)
class Rebuilt:
    """The result of a rebuild.

    Attributes:
        digest: SHA-256 of the new `model.pt2`.
        is_equal: whether it equals that of the registered one.
        farthest: largest difference of two predictions, of 1; 0 if the files are equal.
    """

    digest: str
    is_equal: bool
    farthest: float


def rebuild(version: Version) -> Rebuilt:
    """Train a version again in a worktree of this project.

    Args:
        version: of a registered model.

    Raises:
        InputError: a tag or the commit is missing, or a stage failed.
        BusyError: `rebuild` or `tidy` is running here.
        TrackingError: MLflow cannot be reached.
    """
    key, commit = (_tag(version, name) for name in ("key", "git_commit"))
    if version.tags.get("git_dirty") == "true":
        raise InputError(
            f"{version.name} version {version.number} was trained with files that no commit holds; it cannot be made "
            "again from what its tags say"
        )
    worktree = Worktree(Path(), _TREE, commit, alone=True)
    with guard.stage_lock("rebuild"), worktree.opened(locked=False) as tree:
        stages = _stages(tree)
        if f"train@{key}" not in stages:
            raise InputError(f"dvc.yaml of commit {commit} has no stage train@{key}")
        _provide(worktree, tree, stages, stages[f"train@{key}"], version)
        worktree.run(stages[f"train@{key}"]["cmd"].split())
        return _compare(version, tree / "data/models" / key / "model.pt2")


def _tag(version: Version, name: str) -> str:
    value = version.tags.get(name, "")
    if not value:
        raise InputError(
            f"{version.name} version {version.number} has no tag {name}: it was registered by something else, or "
            "outside git"
        )
    return value


def _stages(tree: Path) -> dict[str, dict[str, Any]]:
    """Return the command, dependencies and outputs of every stage."""
    from dvc.repo import Repo

    with Repo(str(tree)) as repo:
        return {
            stage.name: {
                "cmd": stage.cmd,
                "deps": [dep.def_path for dep in stage.deps],
                "outs": [out.def_path for out in stage.outs],
            }
            for stage in repo.index.stages
            if getattr(stage, "cmd", None)
        }


def _provide(
    worktree: Worktree, tree: Path, stages: dict[str, dict[str, Any]], training: dict[str, Any], version: Version
) -> None:
    """Provide the training's inputs: from the cache by their hashes, or made again."""
    made_by = {out: name for name, stage in stages.items() for out in stage["outs"]}
    read = {str(path) for dep in training["deps"] for path in (Path(dep), *Path(dep).parents)}
    needed = sorted(read & made_by.keys())  # whole outputs; a stage may read a part
    hashes = {path: version.tags.get(f"{OUTPUT}{path}", "") for path in needed}
    if all(hashes.values()):
        lock: dict[str, Any] = {}
        for path, digest in hashes.items():
            outs = lock.setdefault(made_by[path], {"cmd": stages[made_by[path]]["cmd"], "outs": []})["outs"]
            outs.append({"path": path, "hash": "md5", "md5": digest})
        files.write_text(tree / LOCK, yaml.safe_dump({"schema": "2.0", "stages": lock}))
        if worktree.take_from_cache(needed):
            return
        (tree / LOCK).unlink()
    log("rebuild: the cache does not hold what this version was trained on; the earlier stages make it again")
    started = f"{START}/{version.tags['key']}"
    if started in needed:
        _provide_start(version, tree)
    worktree.repro(*sorted({made_by[path] for path in needed if path != started}))


def _provide_start(version: Version, tree: Path) -> None:
    """Provide the start weights; their stage would ask the worktree's registry, and for what is named there now."""
    parent = _tag(version, "parent")
    if parent == NO_PARENT:
        parent = "none"
    elif not parent.startswith(versions.SCHEME):
        parent = str(tree / parent)
    start.provide(parent, Path(), tree / START / version.tags["key"])


def _compare(version: Version, made: Path) -> Rebuilt:
    digest = files.sha256(made)
    if digest == version.digest:
        return Rebuilt(digest, is_equal=True, farthest=0.0)
    from stages.inpainting import exported

    example = exported.example(4, 128, 192)
    image, hole = example[:, :3], example[:, 3:]
    with versions.fetched(version) as folder:
        answers = [exported.load(path)(image, hole) for path in (folder / "model.pt2", made)]
    return Rebuilt(digest, is_equal=False, farthest=float((answers[0] - answers[1]).abs().max()))
