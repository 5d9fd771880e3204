"""What schedulers are given: as far as it can be checked without waiting for Monday."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stages.retrain.__main__ import CODES
from tests.clone import ROOT

SCHEDULES = ROOT / "schedules"
GOOD = {0}  # with --result all that needs nobody
FAILS = (2, CODES["refused"])


def read_yaml(name: str) -> Any:
    return yaml.safe_load((SCHEDULES / name).read_text())


def run_line(line: str, folder: Path, code: int) -> subprocess.CompletedProcess[str]:
    """Run a shell line in a project whose `inpaint` ends with a code, active as in a container."""
    inpaint = folder / ".venv/bin/inpaint"
    inpaint.parent.mkdir(parents=True, exist_ok=True)
    inpaint.write_text(f'#!/bin/sh\necho "called with $*"\nexit {code}\n')
    inpaint.chmod(0o755)
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env={"PROJECT": str(folder), "PATH": f"{inpaint.parent}:/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def crontab() -> tuple[list[str], str]:
    (line,) = [one for one in (SCHEDULES / "crontab").read_text().splitlines() if re.match(r"[\d*]", one)]
    fields = line.split(None, 5)
    return fields[:5], fields[5]


def test_the_crontab_has_five_fields_and_no_per_cent() -> None:
    fields, command = crontab()
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields)
    assert "%" not in command  # cron makes a new line of it


@pytest.mark.parametrize("code", [0, *FAILS])
def test_cron_mails_only_when_something_is_wrong(tmp_path: Path, code: int) -> None:
    said = run_line(crontab()[1], tmp_path, code)
    assert "called with retrain --commit --result .retrain/result.json" in (tmp_path / ".retrain/log").read_text()
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


def test_systemd_raises_an_alarm() -> None:
    text = (SCHEDULES / "inpaint-retrain@.service").read_text()
    assert "retrain --commit --result" in text
    assert "OnFailure=inpaint-retrain-alarm@%i.service" in text


@pytest.mark.parametrize("code", [0, *FAILS])
def test_the_workflow_calls_it_and_opens_an_issue_when_it_fails(tmp_path: Path, code: int) -> None:
    workflow = read_yaml("github.yml")
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # YAML reads `on` as true
    assert workflow["concurrency"]["cancel-in-progress"] is False
    steps = {step.get("name"): step for step in workflow["jobs"]["retrain"]["steps"]}
    assert steps["Alarm"]["if"] == "failure()"
    assert steps["Alarm"]["run"].startswith("gh issue create")
    kept = [
        step["with"]["path"] for step in workflow["jobs"]["retrain"]["steps"] if "actions/cache" in step.get("uses", "")
    ]
    assert len(kept) == 2
    assert all(".resume" in path for path in kept), "the runner is thrown away, and the next call goes on"
    line = steps["Retrain"]["run"].replace("git ", ": ")
    assert (run_line(f"set -e\n{line}", tmp_path, code).returncode == 0) == (code in GOOD)


@pytest.mark.parametrize("code", [0, *FAILS])
def test_the_cronjob_never_runs_twice_at_once_and_fails_when_it_should(tmp_path: Path, code: int) -> None:
    job = read_yaml("kubernetes.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert (run_line(shlex.join(pod["containers"][0]["args"]), tmp_path, code).returncode == 0) == (code in GOOD)
    (group,) = read_yaml("kubernetes-alarm.yaml")["spec"]["groups"]
    for rule in group["rules"]:
        assert job["metadata"]["name"] in rule["expr"]
        said = "jobs that always fail start, too, and failed ones are kept"
        assert "(kube_cronjob_status_last_successful_time{cronjob" in rule["expr"], said


@pytest.mark.parametrize("path", sorted(SCHEDULES.glob("kubernetes*.yaml")), ids=lambda path: path.name)
def test_kubernetes_takes_the_files(path: Path) -> None:
    for resource in yaml.safe_load_all(path.read_text()):
        if resource["kind"] != "PrometheusRule":  # of an operator; Prometheus itself tries its rules below
            kubernetes_validate.validate(resource, "1.37", strict=True)
        spec = resource["spec"].get("jobTemplate", resource)["spec"]
        if "template" not in spec:
            continue
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_the_first_pod_of_a_job_runs_the_pipeline_and_the_others_wait(tmp_path: Path) -> None:
    job, _ = yaml.safe_load_all((SCHEDULES / "kubernetes-train.yaml").read_text())
    for name in ("make", "python"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    for index, said in enumerate(["make repro", "python -m stages.train --wait"]):
        given = {"JOB_COMPLETION_INDEX": str(index), "PATH": f"{tmp_path}:/usr/bin:/bin"}
        ran = subprocess.run(container["args"], env=given, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == said


@pytest.mark.parametrize(
    ("remote", "driver"),
    [("s3://a/b", "s3"), ("azure://a", "azure"), ("ssh://a", "ssh"), ("/srv/dvc", "")],
)
def test_the_workflow_installs_the_driver_of_its_remote(tmp_path: Path, remote: str, driver: str) -> None:
    (step,) = [one for one in read_yaml("github.yml")["jobs"]["retrain"]["steps"] if one.get("name") == "Install"]
    script, given = f"make() {{ echo $*; }}; {step['run']}", {"DVC_REMOTE": remote, "PATH": "/usr/bin:/bin"}
    said = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=given, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [".venv/.run", *filter(None, [driver])]
    assert not driver or f"\n{driver} = [" in (ROOT / "pyproject.toml").read_text()


FAILED, OVERDUE = "RetrainingFailed", "RetrainingOverdue"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, of Prometheus, is not here")
@pytest.mark.parametrize(
    ("active", "scheduled", "succeeded", "hours", "alarms"),
    [
        (0, 3600, None, 250, {FAILED, OVERDUE}),  # always failed
        (0, 3600, 7200, 100, set()),
        (0, 360_000, 7200, 110, {FAILED}),  # the latest failed
        (1, 360_000, 7200, 110, set()),  # is at work
        (0, None, 7200, 260, {OVERDUE}),  # suspended
    ],
)
def test_the_alarms_go_off_when_they_should(
    tmp_path: Path, active: int, scheduled: int | None, succeeded: int | None, hours: int, alarms: set[str]
) -> None:
    rules = read_yaml("kubernetes-alarm.yaml")["spec"]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    labels = {"cronjob": "inpaint-retrain", "namespace": "ml"}
    values = {"created": 0, "status_active": active, "status_last_schedule_time": scheduled}
    values |= {"status_last_successful_time": succeeded}
    where = ",".join(f'{name}="{value}"' for name, value in labels.items())
    series = [
        {"series": f"kube_cronjob_{name}{{{where}}}", "values": f"{value}x4500"}
        for name, value in values.items()
        if value is not None
    ]
    expected = [
        {
            "eval_time": f"{hours}h",
            "alertname": rule["alert"],
            "exp_alerts": [{"exp_labels": labels, "exp_annotations": rule["annotations"]}] * (rule["alert"] in alarms),
        }
        for rule in rules["groups"][0]["rules"]
    ]
    case = {"interval": "4m", "input_series": series, "alert_rule_test": expected}
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [case]}))
    said = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


ORCHESTRATED = """
import importlib.util, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("example", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
example.PROJECT = Path.cwd()
print(eval(sys.argv[2]))
"""
RESULT = {
    "outcome": "kept", "error": "", "batch": "", "commit": "", "paths": {}, "drift": {"distance": 0.5}, "seconds": 1.5,
    "models": {"pconv": {"version": "2", "gain": None, "checks": [{"name": "finite", "met": True}]}},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif("INPAINT_LONG" not in os.environ, reason="downloads three orchestrators: set INPAINT_LONG=1")
@pytest.mark.parametrize(
    ("package", "name", "step"),
    [
        ("apache-airflow>=3", "airflow_dag", "example.inpaint_retrain().get_task('retrain').python_callable()"),
        ("prefect", "prefect_flow", "example.inpaint_retrain.fn()"),
        (
            "dagster",
            "dagster_asset",
            "example.dagster.materialize([example.inpaint_models]).asset_materializations_for_node('inpaint_models')",
        ),
    ],
)
def test_orchestrators_run_their_examples(tmp_path: Path, package: str, name: str, step: str) -> None:
    words = ["uv", "run", "--quiet", "--no-project", "--with", package, "python", "-c", ORCHESTRATED]
    given = os.environ | {"AIRFLOW_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)}
    inpaint = tmp_path / ".venv/bin/inpaint"
    inpaint.parent.mkdir(parents=True)
    for code in (0, CODES["refused"]):
        inpaint.write_text(
            f"#!/bin/sh\nmkdir -p .retrain\necho '{json.dumps(RESULT)}' > .retrain/result.json\nexit {code}\n"
        )
        inpaint.chmod(0o755)
        done = subprocess.run(
            [*words, str(SCHEDULES / f"{name}.py"), step], cwd=tmp_path, env=given, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == (code == 0), done.stderr
        assert ("kept" in done.stdout) == (code == 0)
