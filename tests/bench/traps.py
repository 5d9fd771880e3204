"""Puts known mistakes into the code, one at a time, and looks whether a test notices.

    python -m tests.bench.traps              # all of them, some minutes
    python -m tests.bench.traps gram bias    # those whose names contain a word

What public code for these papers gets wrong, and what is easily got wrong here. Each trap is an edit of one file and
the tests that have to fail with it; the files themselves are never touched, a copy is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.clone import ROOT

NETWORK, LOSSES = "stages/pconv/network.py", "stages/pconv/losses.py"
GAN, OBJECTIVE = "stages/pix2pix/network.py", "stages/pix2pix/losses.py"
MIRROR, REPETITION = "stages/pix2pix/mirror.py", "stages/imaging/repetition.py"
PHASES, WORKTREE, STORE = "stages/retrain/phases.py", "stages/retrain/worktree.py", "stages/tracking/store.py"
ALIASES, KEEPING = "stages/tracking/aliases.py", "stages/retrain/housekeeping.py"
_RETRAIN = "tests/integration/retrain"
DECIDED, TREE_TESTS, KEEPING_TESTS = (f"{_RETRAIN}/test_{name}.py" for name in ("decided", "worktree", "housekeeping"))
LOGIN, SCHEDULED = "tests/integration/tracking/test_login.py", "tests/integration/test_schedules.py"
PCONV_TESTS, LOSS_TESTS = "tests/unit/pconv/test_network.py", "tests/unit/pconv/test_losses.py"
GAN_TESTS, REPETITION_TESTS = "tests/unit/pix2pix", "tests/unit/imaging/test_repetition.py"


@dataclass(frozen=True)
class Trap:
    """A mistake.

    Attributes:
        name: what is wrong.
        file: where.
        right: text of the file, found there once.
        wrong: what stands there instead.
        tests: pytest's arguments: what has to notice.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str


TRAPS = (
    Trap("texture copied out of a hole", MIRROR, " & known.gather(dim, index)", "", GAN_TESTS),
    Trap("texture shifted instead of mirrored", MIRROR, "source = 2 * edge - position", "source = position - size // 2",
         GAN_TESTS),
    Trap("texture over known pixels", GAN, " * copy * hole + 1", " * copy + 1", GAN_TESTS),
    Trap("patterns of colours unseen", REPETITION, "(one.conj() * other).sum(dim=1)",
         "one.sum(1).conj() * other.sum(1)", REPETITION_TESTS),
    Trap("patterns of the target punished", REPETITION, "- theirs", "- 0 * theirs", REPETITION_TESTS),
    Trap("fading rewarded instead of variety", REPETITION, "(variance / largest).detach()", "(variance / largest)",
         REPETITION_TESTS),
    Trap("edges taken for patterns", REPETITION, "> _RISE", "> -1", REPETITION_TESTS),
    Trap("variances cut to half precision", "stages/base.py", "return half if half.isfinite().all() else value",
         "return half", "tests/integration/test_base.py"),
    Trap("sum(1) missing from the ratio", NETWORK, "full = kernel * kernel * sum(channels for _, channels in groups)",
         "full = 1", PCONV_TESTS),
    Trap("ratio without the channels", NETWORK, "full = kernel * kernel * sum(channels for _, channels in groups)",
         "full = kernel * kernel", PCONV_TESTS),
    Trap("no renormalisation", NETWORK, "full / total.clamp(min=1)", "torch.ones_like(total)", PCONV_TESTS),
    Trap("bias scaled by the ratio", NETWORK, "[:, None, None], known)", "[:, None, None], update.ratio)",
         PCONV_TESTS),
    Trap("bias left in holes", NETWORK, "[:, None, None], known)", "[:, None, None], torch.ones_like(known))",
         PCONV_TESTS),
    Trap("holes shifted by batch norm", NETWORK, "x.mul_(known)", "pass", PCONV_TESTS),
    Trap("values in holes leak into the first layer", NETWORK, "x = image.where(hole < 0.5, 0.0)", "x = image",
         PCONV_TESTS),
    Trap("mask sums in half precision", NETWORK, "layers: list[MaskUpdate] = []",
         "layers: list[MaskUpdate] = []; known = known.bfloat16()", PCONV_TESTS),
    Trap("padding counted as known", NETWORK, "F.avg_pool2d(known, kernel, stride, kernel // 2)",
         "F.avg_pool2d(F.pad(known, [kernel // 2] * 4, value=1.0), kernel, stride, 0)",
         PCONV_TESTS),
    Trap("known maps of the two groups swapped", NETWORK, "update_mask([(known, below), (skips.pop(), skipped)]",
         "update_mask([(known, skipped), (skips.pop(), below)]", PCONV_TESTS),
    Trap("no batch norm", NETWORK, "BatchNorm2d(out_channels) if norm else None", "None", PCONV_TESTS),
    Trap("one batch norm shared by several layers", NETWORK, "BatchNorm2d(out_channels) if norm else None",
         "globals().setdefault(f'bn{out_channels}', BatchNorm2d(out_channels)) if norm else None", PCONV_TESTS),
    Trap("activations dropped", NETWORK,
         "return x if self.slope is None else F.leaky_relu(x, self.slope, inplace=True)", "return x", PCONV_TESTS),
    Trap("encoder thawed by train()", NETWORK, "if self.encoder_frozen:", "if False:", PCONV_TESTS),
    Trap("decoder frozen too", NETWORK, "for module in self.encoder.modules():", "for module in self.modules():",
         PCONV_TESTS),
    Trap("fine-tuning at 5e-4", "profiles/paper.yaml", "finetune_learning_rate: 5.0e-5",
         "finetune_learning_rate: 5.0e-4", "tests/unit/runtime/test_profile.py"),
    Trap("hole loss over the hole's area", LOSSES, "return (hole * (prediction - target)).abs().mean()",
         "return (hole * (prediction - target)).abs().sum() / (3 * hole.sum()).clamp(min=1)", LOSS_TESTS),
    Trap("gram not divided by the channels", LOSSES, "/ (c * h * w)", "/ (h * w)", LOSS_TESTS),
    Trap("gram not divided by the area", LOSSES, "/ (c * h * w)", "/ c", LOSS_TESTS),
    Trap("classifier sees pictures as they are", "stages/imaging/features.py", "x = (image - self.mean) / self.std",
         "x = image", "tests/unit/imaging/test_features.py"),
    Trap("no gradient through the features", LOSSES, "got = features(torch.cat([prediction, ",
         "got = features(torch.cat([prediction.detach(), ", LOSS_TESTS),
    Trap("classifier trainable", "stages/imaging/features.py", "self.requires_grad_(False)", "pass",
         "tests/unit/imaging/test_features.py"),
    Trap("total variation inside the hole alone", LOSSES, "region = F.max_pool2d(hole, 3, 1, 1)", "region = hole",
         LOSS_TESTS),
    Trap("total variation of the whole picture", LOSSES, "region = F.max_pool2d(hole, 3, 1, 1)",
         "region = torch.ones_like(hole)", LOSS_TESTS),
    Trap("total variation over pairs with one pixel in the region", LOSSES,
         "(region[..., :, 1:] * region[..., :, :-1])", "region[..., :, 1:]", LOSS_TESTS),
    Trap("a loss that changes its mask", LOSSES, "region = F.max_pool2d(hole, 3, 1, 1)",
         "region = hole.copy_(F.max_pool2d(hole, 3, 1, 1))", LOSS_TESTS),
    Trap("composite the other way round", "stages/inpainting/composite.py", "prediction.where(hole > 0.5, image)",
         "image.where(hole > 0.5, prediction)", "tests/unit/inpainting/test_composite.py"),
    Trap("a model asked to fill holes that it cannot see across", "stages/inpainting/cropping/multiscale.py",
         "deep = (missing if missing.all() else thick(missing, filler.reach)) & wanted", "deep = missing & False",
         "tests/unit/inpainting/test_cropping.py"),
    Trap("thin holes scaled away", "stages/inpainting/cropping/scaling.py", "count[..., 0] < factor**2",
         "count[..., 0] < factor**2 / 2", "tests/unit/inpainting/test_scaling.py"),
    Trap("glowing blobs let through", "stages/inpainting/cropping/multiscale.py",
         "if distance := membrane.strays(known, missing, answer):", "if distance := 0.0:",
         "tests/unit/inpainting/test_membrane.py"),
    Trap("texture over plain skies", "stages/inpainting/cropping/detail.py",
         "share * mixed + (1 - share) * (model + grain)", "mixed", "tests/unit/inpainting/test_detail.py"),
    Trap("texture blurred by the model's answer", "stages/inpainting/cropping/detail.py",
         "mixed = copied + MODELS_SHARE * trust * apart", "mixed = model", "tests/unit/inpainting/test_detail.py"),
    Trap("copied bricks and gravel lose contrast", "stages/inpainting/cropping/detail.py",
         "MODELS_SHARE, SMOOTH_PX = 0.7, 8.0", "MODELS_SHARE, SMOOTH_PX = 0.7, 2.0",
         "tests/unit/inpainting/test_detail.py"),
    Trap("answers not clamped", "stages/inpainting/exported.py", "return prediction.clamp(0, 1)", "return prediction",
         "tests/integration/inpainting/test_exported.py"),
    Trap("the last weights kept instead of the best", "stages/training/loop.py",
         "if self.is_beaten_by(psnr, perceptual, criterion):", "if True:",
         "tests/integration/training/test_trainer.py -k patience"),
    Trap("validation averaged over batches", "stages/training/loop.py", "torch.cat(mse)",
         "torch.stack([each.mean() for each in mse])", "tests/unit/training/test_validation.py"),
    Trap("other holes at every evaluation", "stages/pair.py", 'np.random.default_rng([seed, *b"evaluate"])',
         "np.random.default_rng()", "tests/unit/test_pair.py"),
    Trap("holes resized with grey edges", "stages/imaging/drawing/mask_folder.py",
         "cv2.resize(hole, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)",
         "cv2.resize(255 * hole, (size, size), interpolation=cv2.INTER_LINEAR)",
         "tests/unit/imaging/drawing tests/integration/masks"),
    Trap("black and white holes swapped", "stages/imaging/user_mask.py", 'WHITE_FROM if hole_is == "white"',
         'WHITE_FROM if hole_is != "white"', "tests/unit/imaging/test_user_mask.py"),
    Trap("near duplicates on both sides", "stages/imaging/splits.py", "ranks < strongest[groups]",
         "ranks < ranks", "tests/unit/imaging/test_splits.py"),
    Trap("bucket edges [a, b)", "stages/imaging/holes.py", "if low < ratio <= high", "if low <= ratio < high",
         "tests/unit/imaging/test_holes.py"),
    Trap("the target behind the generator's holes", GAN, "to_signed(image).where(hole < 0.5, 0.0)", "to_signed(image)",
         GAN_TESTS),
    Trap("fakes called real in the discriminator's loss", OBJECTIVE, "distances(fake, 1 - fakeness, objective)",
         "distances(fake, fakeness, objective)", GAN_TESTS),
    Trap("test-time normalisation ignored", GAN, "if self.training or not self.batch_at_test:", "if True:", GAN_TESTS),
    Trap("dropout at test time ignored", GAN, "self.training or self.drop_at_test", "self.training", GAN_TESTS),
    Trap("dropout one level late", GAN, "dropout=level >= INNER_LEVELS", "dropout=INNER_LEVELS - 1 <= level < 7",
         GAN_TESTS),
    Trap("batch norm at the deepest level", GAN, "if 0 < level < levels - 1 else None", "if 0 < level else None",
         GAN_TESTS),
    Trap("weights drawn as torch does", GAN, "nn.init.normal_(module.weight, 0.0, 0.02)", "pass", GAN_TESTS),
    Trap("one strided layer too few", GAN, "stride = 2 if number < strided_layers else 1",
         "stride = 2 if number < strided_layers - 1 else 1", GAN_TESTS),
    Trap("L1 on the scale of [0, 1]", OBJECTIVE, "return 2 * F.l1_loss", "return F.l1_loss", GAN_TESTS),
    Trap("weights loaded in part", "stages/training/loop.py", 'module.load_state_dict(state["module"])',
         'module.load_state_dict(state["module"], strict=False)', "tests/unit/training/test_checkpoint.py"),
    Trap("gradients never clipped", "stages/training/module.py", "clip_grad_norm_(weights, self.settings.clip_norm)",
         "clip_grad_norm_(weights, 1e9)", "tests/integration/training/test_bad_numbers.py"),
    Trap("checkpoints unpickled", "stages/training/checkpoint.py", "weights_only=True", "weights_only=False",
         "tests/unit/training/test_checkpoint.py"),
    Trap("models unpickled", "stages/inpainting/exported.py", 'os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"',
         "pass", "tests/integration/inpainting/test_exported.py"),
    Trap("weights kept that lost too much hole PSNR", "stages/training/loop.py",
         "return psnr >= floor and (perceptual < self.perceptual or self.psnr < floor)",
         "return perceptual < self.perceptual", "tests/unit/training/test_best.py"),
    Trap("photographs of the base weights as tests", "stages/prepare/selection.py",
         "known = np.isin(groups[len(seen) :], groups[: len(seen)])", "known = np.isin(groups[len(seen) :], [])",
         "tests/integration/prepare/test_prepare.py -k base_weights"),
    Trap("a critic asked about what it learned from", "stages/evaluate/critic.py",
         "known, asked = np.flatnonzero(halves != half)", "known, asked = np.flatnonzero(halves == half)",
         "tests/unit/evaluate/test_critic.py"),
    Trap("a gate without a floor", "stages/retrain/gate.py", "met = change.high >= -most_db", "met = True",
         "tests/unit/retrain/test_gate.py"),
    # Retraining: what was wrong once, and where public set-ups go wrong.
    Trap("retrain: aliases moved before the outputs are home", PHASES,
         '    if call.outcome == "refused":\n        inbox',
         '    _move_aliases(call)\n    if call.outcome == "refused":\n        inbox', f"{DECIDED} -k remote"),
    Trap("retrain: a decision that is not written down", PHASES, "_judge(call, tree, call.crowned)\n    call.save()",
         "_judge(call, tree, call.crowned)", f"{DECIDED} -k cut_off"),
    Trap("retrain: a refused candidate stays challenger", PHASES, "aliases.keep_out(version)", "pass",
         f"{DECIDED} -k challenger"),
    Trap("retrain: a promotion lifts vetoes", ALIASES, "_refuse_vetoed(new)", "pass",
         "tests/integration/tracking/test_aliases.py -k veto"),
    Trap("retrain: champion read outside the lock", ALIASES,
         'with store.reached(), store.locked("registry"):\n        client, known = store.connect(), '
         "versions.registered(name)",
         "client, known = store.connect(), versions.registered(name)\n"
         '    with store.reached(), store.locked("registry"):',
         "tests/integration/tracking/test_aliases.py -k another_process"),
    Trap("retrain: a champion of MLflow's pages is not written down", ALIASES, "or not was_champion(version)", "",
         "tests/integration/tracking/test_aliases.py -k pages"),
    Trap("retrain: worktree of the whole repository taken for the project", WORKTREE,
         'self._checkout / self._git(self.root, "rev-parse", "--show-prefix")', "self._checkout",
         f"{TREE_TESTS} -k larger_repository"),
    Trap("retrain: changes elsewhere in the repository count", WORKTREE, '"--untracked-files=no", "--", "."',
         '"--untracked-files=no"', f"{TREE_TESTS} -k larger_repository"),
    Trap("retrain: the first letter of a path lost", WORKTREE, "entry[3:]", "entry[4:]",
         f"{TREE_TESTS} -k larger_repository"),
    Trap("retrain: clean where git does not answer", "stages/runtime/project.py", 'return "", True', 'return "", False',
         "tests/integration/runtime/test_project.py"),
    Trap("retrain: a new worktree for every call", WORKTREE, "if self._alone or not self._is_checked_out(commit):",
         "if True:", f"{TREE_TESTS} -k again"),
    Trap("retrain: state of DVC in the system's folder", WORKTREE,
         'environment["DVC_SITE_CACHE_DIR"] = str(self.tree / ".dvc/tmp/site")', "pass", f"{TREE_TESTS} -k again"),
    Trap("retrain: outputs copied", WORKTREE, '"hardlink,reflink,copy"', '"copy"', f"{TREE_TESTS} -k not_copied"),
    Trap("retrain: photographs copied across file systems", WORKTREE,
         "except OSError:\n        place.symlink_to(source)", "except OSError:\n        shutil.copy2(source, place)",
         f"{TREE_TESTS} -k file_system"),
    Trap("retrain: passwords in messages", "stages/runtime/errors.py", 'return _LOGIN.sub("***@", text)', "return text",
         f"{LOGIN} -k login"),
    Trap("retrain: a refused login counts as success", "stages/publish/__main__.py",
         "params.strict or isinstance(error, LoginError)", "params.strict", f"{LOGIN} -k login"),
    Trap("retrain: uploads have ten seconds", STORE,
         "client.search_experiments(max_results=1)\n    return client",
         "client.search_experiments(max_results=1)\n    os.environ[_TIMEOUT] = _FIRST_ANSWER_S\n    return client",
         f"{LOGIN} -k login"),
    Trap("retrain: tracebacks of artifact stores", STORE, '"botocore", ', "", f"{LOGIN} -k artifacts"),
    Trap("retrain: orphans of failed uploads", "stages/tracking/registry.py", "client.delete_logged_model(model_id)",
         "pass", f"{LOGIN} -k leaves_no_model"),
    Trap("retrain: the registry's address ignored", STORE, "MlflowClient(tracking_uri=uri())",
         "MlflowClient(tracking_uri=uri(), registry_uri=uri())", f"{LOGIN} -k registry"),
    Trap("retrain: tags expected of every search", "stages/tracking/versions.py",
         "one if one.tags else client.get_model_version(name, str(one.version))", "one", f"{LOGIN} -k registry"),
    Trap("training: features draw when they are loaded", "stages/imaging/features.py",
         "with torch.random.fork_rng(devices=()):", "if True:",
         "tests/integration/training/test_exact_resume.py -k instant"),
    Trap("prepare: a damaged shard is taken from the cache", "stages/prepare/sharding.py",
         "if _digest_of(job.known).read_bytes() == digest.encode():", "if True:",
         "tests/integration/prepare/test_growth.py -k damaged"),
    Trap("prepare: all pairs of a group of near duplicates", "stages/imaging/near.py",
         "_connecting(pairs, groups)", "np.unique(pairs, axis=0)", "tests/unit/imaging/test_near.py -k crowd"),
    Trap("dask: workers that come later have nothing to do", "stages/runtime/parallel.py",
         "if time.monotonic() - looked > _LOOK_AGAIN_S:", "if looked < 0:",
         "tests/integration/runtime/test_parallel.py -k later"),
    Trap("retrain: the first version is not reported", PHASES,
         "if key in crowned:\n                log", "if True:\n                log", f"{DECIDED} -k first"),
    Trap("retrain: no driver for s3", "schedules/github.yml", "s3:*|gs:*|azure:*|ssh:*)", "gs:*)", SCHEDULED),
    Trap("retrain: checkpoints thrown away with the runner", "schedules/github.yml",
         "            .resume\n            .remembered\n          key: retrain-${{ github.run_id }}\n          restore",
         "            .remembered\n          key: retrain-${{ github.run_id }}\n          restore", SCHEDULED),
    Trap("retrain: what a killed call left running is not waited for", WORKTREE, "pass_fds=guard.lock_descriptors()",
         "pass_fds=()", f"{TREE_TESTS} -k killed_call"),
    Trap("retrain: stages outlive DVC on macOS", "stages/runtime/guard.py", 'or sys.platform != "linux"', "or False",
         "tests/integration/runtime/test_guard.py -k ends_with_dvc"),
    Trap("retrain: a traceback where NFS has no locks", "stages/runtime/locks.py", "(errno.ENOLCK, ", "(",
         "tests/unit/runtime/test_guard.py -k without_locks"),
    Trap("retrain: git's locks of other hosts deleted", "stages/retrain/doctor.py",
         '"if no git is at work, delete it")', "clear=path.unlink)", f"{_RETRAIN}/test_doctor.py -k gits_locks"),
    Trap("retrain: near duplicates count as unseen", "stages/retrain/trial.py",
         "if is_alike or photo in learned", "if photo in learned", f"{_RETRAIN}/test_trial.py"),
    Trap("retrain: tidy without queued experiments", KEEPING, "sorted(repo.experiments.stash_revs)", "[]",
         f"{KEEPING_TESTS} -k queue"),
    Trap("retrain: tidy of a cache that others share", KEEPING,
         'return bool({"dir", "shared"} & repo.config["cache"].keys())', "return False", f"{KEEPING_TESTS} -k share"),
    Trap("retrain: done before the disk has it", PHASES, "    os.sync()", "    pass", f"{DECIDED} -k disk"),
    Trap("retrain: an alarm as long as failed jobs are kept", "schedules/kubernetes-alarm.yaml",
         "> on (namespace, cronjob) (kube_cronjob_status_last_successful_time",
         "> on (namespace, cronjob) (kube_job_status_failed", SCHEDULED),
    Trap("retrain: no alarm where jobs always fail", "schedules/kubernetes-alarm.yaml",
         "time() - (kube_cronjob_status_last_successful_time", "time() - (kube_cronjob_status_last_schedule_time",
         SCHEDULED),
    Trap("a start of another shape is kept", "stages/start.py", "if not differing:", "if named:",
         "tests/integration/training/test_weights.py -k named"),
    Trap("photographs of the parent count as tests again", "stages/publish/data.py", "{**inherited, **hashes_of(",
         "{**hashes_of(", "tests/integration/test_publish.py -k inherits"),
    Trap("start weights that somebody exchanged", "stages/tracking/versions.py", "or sha256(path) != digest", "",
         "tests/integration/test_publish.py -k without_its_weights"),
)  # fmt: skip


def notices(trap: Trap, copy: Path) -> bool:
    """Put a trap into the copy, run its tests, take it out again; tell whether a test failed."""
    path = copy / trap.file
    text = path.read_text(encoding="utf-8")
    if text.count(trap.right) != 1:
        raise SystemExit(
            f"{trap.name}: {trap.file} should hold {trap.right!r} once, but does {text.count(trap.right)} times"
        )
    path.write_text(text.replace(trap.right, trap.wrong), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *trap.tests.split()]
        environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, check=False, cwd=copy, env=environment, capture_output=True, text=True)
    finally:
        path.write_text(text, encoding="utf-8")
    return done.returncode == 1  # 0: all passed; above 1: pytest itself could not run


def main() -> int:
    """Try the traps, print a line each, and fail when a test slept."""
    words = sys.argv[1:]
    chosen = [trap for trap in TRAPS if not words or any(word in trap.name for word in words)]
    asleep = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__", "mlruns", "mlartifacts", "prepared", "models")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for trap in chosen:
            seen = notices(trap, copy)
            print(f"{'noticed' if seen else 'NOT NOTICED'}: {trap.name}", flush=True)
            asleep += [] if seen else [trap.name]
    print(f"{len(chosen) - len(asleep)} of {len(chosen)} noticed")
    return 1 if asleep else 0


if __name__ == "__main__":
    sys.exit(main())
