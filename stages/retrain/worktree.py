"""Runs the pipeline in a git worktree with the project's cache, so that no failure touches the present outputs.

    worktree = Worktree(root)
    with worktree.opened() as tree:
        worktree.repro()
        ...                          # `tree / "data"` holds the candidates
    worktree.bring_home()

The cache and the checkpoints belong to the project, not to the worktree, so a killed call costs the next one little.
The worktree stays for the next call, since DVC would read every photograph of a new one again. The project may be a
folder of a larger repository; `tree` is its counterpart.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stages.runtime import guard
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write
from stages.start import STARTS

LOCK = "dvc.lock"
STATE = Path(".retrain/call.json")  # of a call that is not done, whose outputs the worktree holds
_TREE = Path(".retrain/tree")
_REASONS = 3  # of a stage that are listed


class Worktree:
    """A worktree in which candidates are trained.

    Args:
        root: of the project, with DVC, in a git repository.
        tree: folder of the worktree, relative to the root.
        commit: to check out.
        alone: create it anew, without checkpoints of earlier runs, and remove it afterwards.

    Raises:
        InputError: git fails.
    """

    def __init__(self, root: Path, tree: Path = _TREE, commit: str = "HEAD", alone: bool = False) -> None:
        self.root, self._checkout = root.resolve(), root.resolve() / tree
        self.tree = self._checkout / self._git(self.root, "rev-parse", "--show-prefix")
        self._commit, self._alone = commit, alone

    def changes(self) -> list[str]:
        """Return what `dvc repro` would run, one line per stage with the reasons.

        Raises:
            InputError: `dvc status` fails.
        """
        import json

        said = self._dvc(self.root, "status", "--json", captured=True)
        status: dict[str, Any] = json.loads(said or "{}")
        status.pop("publish", None)  # always listed
        return [f"{stage}: {_explain(reasons)}" for stage, reasons in sorted(status.items())]

    def check_committed(self) -> None:
        """Refuse to train what no commit holds, since such a model could not be made again.

        Raises:
            InputError: tracked files, other than those that DVC writes, differ from the commit.
        """
        said = self._git(self.root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--", ".")
        top = Path(self._git(self.root, "rev-parse", "--show-toplevel"))
        paths = [os.path.relpath(top / entry[3:], self.root) for entry in said.split("\0") if entry]
        changed = [path for path in paths if not path.endswith((LOCK, ".dvc")) and Path(path) != STARTS]
        if changed:
            raise InputError(
                f"{', '.join(changed)}: changed since the last commit; commit, or undo, so that the models to come "
                "can be traced to what made them"
            )

    @contextmanager
    def opened(self, locked: bool = True) -> Iterator[Path]:
        """Check the worktree out, and yield the project's folder in it.

        Args:
            locked: take `dvc.lock` and what else a call commits as they are in the project now.
        """
        self._lay_out()
        for name in self._results() if locked else []:
            if (self.root / name).exists():
                shutil.copy2(self.root / name, self.tree / name)
        yield self.tree
        if self._alone:
            self._git(self.root, "worktree", "remove", "--force", str(self._checkout))

    def _lay_out(self) -> None:
        commit = self._git(self.root, "rev-parse", "--verify", f"{self._commit}^{{commit}}")
        if self._alone or not self._is_checked_out(commit):
            if self._checkout.exists():
                shutil.rmtree(self._checkout)
            self._git(self.root, "worktree", "prune")
            self._git(self.root, "worktree", "add", "--quiet", "--force", "--detach", str(self._checkout), commit)
        self._configure()
        given = self._given()
        wanted = set(self._untracked(self.root, given))
        for name in set(self._untracked(self.tree, given)) - wanted:
            (self.tree / name).unlink()
        for name in sorted(wanted):
            _link(self.root / name, self.tree / name)

    def _is_checked_out(self, commit: str) -> bool:
        """Check a commit out in the worktree of an earlier call; return whether git knows one."""
        if not (self._checkout / ".git").is_file():  # else git would use the project's own
            return False
        with suppress(InputError):
            self._git(self._checkout, "checkout", "--quiet", "--force", "--detach", commit)
            return True
        return False

    def _configure(self) -> None:
        """Give DVC the project's settings and cache."""
        from dvc.config import Config, merge
        from dvc.repo import Repo

        with Repo(str(self.root)) as repo:
            own, cache = repo.config.load_one("local"), str(repo.cache.local_cache_dir)
        (self.tree / ".dvc/config.local").unlink(missing_ok=True)
        with Config(str(self.tree / ".dvc"), validate=False).edit("local") as settings:
            merge(settings, own)
            settings["cache"] |= {"dir": cache, "type": "hardlink,reflink,copy"}  # nobody edits what lies there

    def _pointers(self) -> list[str]:
        return [line for line in self._git(self.root, "ls-files", "*.dvc").splitlines() if line]

    def _results(self) -> list[str]:
        """List the files that a call of retrain changes and commits."""
        return [LOCK, str(STARTS), *self._pointers()]

    def _given(self) -> list[str]:
        """List what the pipeline reads but does not make: code, photographs, masks, others' predictions."""
        from dvc.repo import Repo

        with Repo(str(self.root)) as repo:
            made = {Path(out.fs_path) for out in repo.index.outs if out.stage.cmd}
            read = {Path(dep.fs_path) for dep in repo.index.deps}
        inside = [path for path in read - made if path.is_relative_to(self.root) and path.exists()]
        given = [path for path in inside if not any(parent in made for parent in path.parents)]
        return [str(path.relative_to(self.root)) for path in sorted(given)]

    def _untracked(self, place: Path, names: list[str]) -> list[str]:
        """List the untracked files at or below some paths."""
        found = self._git(place, "ls-files", "--others", "-z", "--", *names) if names else ""
        return [name for name in found.split("\0") if name and "__pycache__" not in name]

    def repro(self, *targets: str) -> None:
        """Run the pipeline, or some stages with all that they need.

        Raises:
            InputError: a stage failed, and has printed why.
        """
        self._dvc(self.tree, "repro", *targets)

    def run(self, command: list[str]) -> None:
        """Run the command of one stage, such as `python -m stages.pair`.

        Raises:
            InputError: it failed, and has printed why.
        """
        self._run(self.tree, [sys.executable, *command[1:]])

    def take_from_cache(self, paths: list[str]) -> bool:
        """Fetch outputs from the cache or the remote; return whether all of them were there."""
        for command in ("checkout", "pull"):
            with suppress(InputError):
                self._dvc(self.tree, command, "--quiet", *paths)
                return True
            if not self.has_remote():
                return False
        return False

    def bring_home(self) -> None:
        """Check the worktree's outputs out in the project."""
        for name in self._results():
            if (self.tree / name).exists():
                with atomic_write(self.root / name) as file:
                    file.write((self.tree / name).read_bytes())
        self._dvc(self.root, "checkout", "--force", "--quiet", "dvc.yaml")

    def has_remote(self) -> bool:
        """Return whether DVC has a remote to push to."""
        return bool(self._dvc(self.root, "remote", "list", captured=True))

    def push(self) -> None:
        """Push the outputs and the run cache to the remote."""
        self._dvc(self.root, "push", "--quiet", "--run-cache")

    def refresh(self, photos: Path) -> None:
        """Update photographs that DVC imports, or pull them if they are missing."""
        pointer = self.root / f"{photos}.dvc"
        if not pointer.exists():
            return
        if "\ndeps:" in f"\n{pointer.read_text(encoding='utf-8')}":  # an import knows where it comes from
            self._dvc(self.root, "update", "--quiet", str(pointer))
        elif not (self.root / photos).exists():
            self._dvc(self.root, "pull", "--quiet", str(pointer))

    def commit(self, message: str) -> str:
        """Commit `dvc.lock`, data/starts.yaml and the `.dvc` files; return the hash, "" if nothing changed."""
        names = self._results()
        self._git(self.root, "add", *names)
        if not self._git(self.root, "diff", "--cached", "--name-only", "--", *names):
            return ""
        words = ["commit", "--quiet", "--message", message, "--", *names]
        self._git(self.root, *self._committer(), *words)
        return self._git(self.root, "rev-parse", "HEAD")

    def commit_to(self, branch: str, message: str) -> str:
        """Commit the same to another branch and push it; return the commit's hash, "" if nothing changed."""
        names = self._results()
        self._git(self.tree, "add", *names)
        if self._git(self.tree, "diff", "--cached", "--name-only", "--", *names):
            self._git(self.tree, *self._committer(), "commit", "--quiet", "--message", message)
        made = self._git(self.tree, "rev-parse", "HEAD")
        if made == self._git(self.root, "rev-parse", "HEAD"):
            return ""
        self._git(self.tree, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return made

    def _committer(self) -> list[str]:
        """Return options that name a committer, in case the scheduler's account has none."""
        try:
            self._git(self.root, "var", "GIT_COMMITTER_IDENT")
        except InputError:
            return ["-c", "user.name=inpaint retrain", "-c", "user.email=inpaint@localhost"]
        return []

    def _git(self, place: Path, *words: str) -> str:
        synced = ["git", "-c", "core.fsync=all", *words]  # else a power cut leaves empty objects, and no repository
        ran = subprocess.run(synced, cwd=place, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise InputError(f"git {words[0]} failed: {ran.stderr.strip() or ran.stdout.strip()}")
        return ran.stdout.rstrip("\n")

    def _dvc(self, place: Path, *words: str, captured: bool = False) -> str:
        return self._run(place, [sys.executable, "-m", "dvc", *words], captured)

    def _run(self, place: Path, command: list[str], captured: bool = False) -> str:
        """Run a program that ends with this process. Its output goes to stderr, or is captured."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {
            **os.environ,
            "PATH": path,
            "DVC_ROOT": str(self.tree if self._alone else self.root),
            "DVC_NO_ANALYTICS": "1",
        }
        if place == self.tree:  # DVC's state of these files stays with them, not in the system's folder
            environment["DVC_SITE_CACHE_DIR"] = str(self.tree / ".dvc/tmp/site")
        ran = subprocess.run(
            command, cwd=place, env=environment, stdout=subprocess.PIPE if captured else sys.stderr, text=True,
            check=False, preexec_fn=guard.end_with_parent, pass_fds=guard.lock_descriptors(),
        )  # fmt: skip
        if ran.returncode:
            said = " ".join(command[2:4])
            raise InputError(f"{said} failed in {place} with exit code {ran.returncode}; see above")
        return (ran.stdout or "").strip()


def _explain(reasons: Any) -> str:
    """Join DVC's reasons for running a stage: "data/raw modified, prepare.tile_size new"."""
    if isinstance(reasons, str):
        return reasons
    words = []
    for reason in reasons:
        if isinstance(reason, str):
            words.append(reason)
            continue
        for changed in reason.values():
            words += [f"{path} {_state(state)}" for path, state in changed.items()]
    more = [f"and {len(words) - _REASONS} more"] if len(words) > _REASONS else []
    return ", ".join(words[:_REASONS] + more)


def _state(state: Any) -> str:
    if isinstance(state, dict):
        return "; ".join(f"{key} {_state(each)}" for key, each in state.items())
    return str(state)


def _link(source: Path, place: Path) -> None:
    """Link a file: hard, or symbolically where that is impossible."""
    if place.exists() and place.samefile(source):
        return
    if place.is_dir() and not place.is_symlink():  # a link to a folder has replaced this folder
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        place.symlink_to(source.resolve())
        return
    try:
        os.link(source, place)
    except OSError:
        place.symlink_to(source)
