"""What schedulers are given: as far as it can be checked without waiting for Monday."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.retrain.__main__ import CODES
from tests.clone import ROOT

SCHEDULES = ROOT / "schedules"
GOOD = {CODES["promoted"], CODES["kept"], CODES["nothing new"], 75}  # busy is no reason for an alarm
QUIET = "|".join(str(code) for code in sorted(GOOD))


def read_yaml(name: str) -> Any:
    return yaml.safe_load((SCHEDULES / name).read_text())


def run_line(line: str, folder: Path, code: int) -> subprocess.CompletedProcess[str]:
    """Run a shell line in a project whose `inpaint` ends with a code."""
    inpaint = folder / ".venv/bin/inpaint"
    inpaint.parent.mkdir(parents=True, exist_ok=True)
    inpaint.write_text(f'#!/bin/sh\necho "called with $*"\nexit {code}\n')
    inpaint.chmod(0o755)
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env={"PROJECT": str(folder), "PATH": "/usr/bin:/bin"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def crontab() -> tuple[list[str], str]:
    (line,) = [one for one in (SCHEDULES / "crontab").read_text().splitlines() if re.match(r"[\d*]", one)]
    fields = line.split(None, 5)
    return fields[:5], fields[5]


def test_the_crontab_has_five_fields_and_no_per_cent() -> None:
    fields, command = crontab()
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields)
    assert "%" not in command  # cron makes a new line of it


@pytest.mark.parametrize("code", sorted({*CODES.values(), 75, 2}))
def test_cron_mails_only_when_something_is_wrong(tmp_path: Path, code: int) -> None:
    said = run_line(crontab()[1], tmp_path, code)
    assert "called with retrain --commit" in (tmp_path / ".retrain/log").read_text()
    assert (said.stdout == "") == (code in GOOD)
    if code not in GOOD:
        assert f"exit {code}" in said.stdout
        assert "called with" in said.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in SCHEDULES.glob("inpaint-*"):
        shutil.copy2(path, tmp_path)
    units = [path.rename(str(path).replace("@", "@srv-image\\x2dreconstruction")) for path in tmp_path.iterdir()]
    said = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *units],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    complaints = [line for line in said.stderr.splitlines() if "inpaint-" in line]
    assert said.returncode == 0, said.stderr
    assert complaints == []


def test_systemd_counts_as_success_what_is_one() -> None:
    text = (SCHEDULES / "inpaint-retrain@.service").read_text()
    (codes,) = re.findall(r"^SuccessExitStatus=(.*)$", text, re.MULTILINE)
    assert {0, *map(int, codes.split())} == GOOD
    assert "OnFailure=inpaint-retrain-alarm@%i.service" in text


@pytest.mark.parametrize("code", [0, 2, 12])
def test_the_workflow_calls_it_and_opens_an_issue_when_it_fails(tmp_path: Path, code: int) -> None:
    workflow = read_yaml("github.yml")
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # YAML reads `on` as true
    assert workflow["concurrency"]["cancel-in-progress"] is False
    steps = {step.get("name"): step for step in workflow["jobs"]["retrain"]["steps"]}
    assert steps["Alarm"]["if"] == "failure()"
    assert steps["Alarm"]["run"].startswith("gh issue create")
    line = steps["Retrain"]["run"].replace("git ", ": ")
    assert (run_line(f"set -e\n{line}", tmp_path, code).returncode == 0) == (code in GOOD)


@pytest.mark.parametrize("code", [0, 2, 12, 75])
def test_the_cronjob_never_runs_twice_at_once_and_fails_when_it_should(tmp_path: Path, code: int) -> None:
    job = read_yaml("kubernetes.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    shell, flag, line = pod["containers"][0]["command"]
    assert (shell, flag) == ("/bin/sh", "-c")
    assert (run_line(line, tmp_path, code).returncode == 0) == (code in GOOD)
    mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    (group,) = read_yaml("kubernetes-alarm.yaml")["spec"]["groups"]
    assert all(job["metadata"]["name"] in rule["expr"] for rule in group["rules"])
