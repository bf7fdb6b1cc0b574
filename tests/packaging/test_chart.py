"""The Helm chart: what it renders is valid Kubernetes, and what it configures is valid Catzilla."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import config_schema
import kube_schemas
import pytest
import yaml
from go_tools import ROOT, go_tool

CHART = ROOT / "helm" / "catzilla"
KUBERNETES = "1.36.3"

APP = ["--set", "app.image.repository=example/shop"]
VARIANTS: dict[str, list[str]] = {
    "an app": APP,
    "alone": [
        "--set", "app.enabled=false",
        "--set-json", 'config.mounts=[{"name":"web","prefix":"/","root":"/srv"}]',
    ],
    "a foreign app": [
        *APP, "--set", "app.preStopSleep=30", "--set-json", 'app.command=["uvicorn","app:app"]',
    ],
    "everything": [
        *APP,
        "--set", "metrics.serviceMonitor.enabled=true,podDisruptionBudget.enabled=true",
        "--set", "priorityClassName=high,service.type=LoadBalancer",
        "--set-json", 'sidecar.extraArgs=["--log-level=debug"]',
        "--set-json", 'sidecar.env=[{"name":"A","value":"b"}]',
        "--set-json", 'nodeSelector={"a":"b"}',
        "--set-json", 'podAnnotations={"a":"b"}',
        "--set-json", 'volumes=[{"name":"site","emptyDir":{}}]',
        "--set-json", 'sidecar.volumeMounts=[{"name":"site","mountPath":"/srv"}]',
        "--set-json",
        ('topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"zone",'
         '"whenUnsatisfiable":"ScheduleAnyway"}]'),
        "--set-json", 'tolerations=[{"operator":"Exists"}]',
        "--set-json", 'affinity={"nodeAffinity":{}}',
        "--set-json", 'imagePullSecrets=[{"name":"x"}]',
    ],
    "only the templates": ["--set", "deployment.enabled=false"],
}  # fmt: skip


def render(helm: Path, *options: str, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [helm, "template", "shop", chart, "--kube-version", KUBERNETES, *options],
        text=True, capture_output=True, check=False,
    )  # fmt: skip


def resources(helm: Path, *options: str, chart: Path = CHART) -> dict[tuple[str, str], Any]:
    made = render(helm, *options, chart=chart)
    assert made.returncode == 0, made.stderr
    found = [item for item in yaml.safe_load_all(made.stdout) if item]
    return {(item["kind"], item["metadata"]["name"]): item for item in found}


def pod_of(found: dict[tuple[str, str], Any], name: str = "shop-catzilla") -> dict[str, Any]:
    pod: dict[str, Any] = found["Deployment", name]["spec"]["template"]["spec"]
    return pod


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("kube-schemas")
    kinds = kube_schemas.write_schemas(
        go_tool("kubernetes-api"), [go_tool("servicemonitor")], folder
    )
    assert kinds > 100
    return f"{folder}/{kube_schemas.TEMPLATE}"


def conform(kubeconform: Path, schemas: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [kubeconform, "-strict", "-summary", "-output", "json", "-schema-location", schemas],
        input=text, text=True, capture_output=True, check=False,
    )  # fmt: skip


def test_helm_lint_has_no_complaint(helm: Path) -> None:
    made = subprocess.run(
        [helm, "lint", "--strict", "--kube-version", KUBERNETES, CHART],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert "[WARNING]" not in made.stdout


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_rendered_is_valid_kubernetes(
    helm: Path, kubeconform: Path, schemas: str, variant: str
) -> None:
    made = render(helm, *VARIANTS[variant])
    assert made.returncode == 0, made.stderr
    checked = conform(kubeconform, schemas, made.stdout)
    assert checked.returncode == 0, checked.stdout
    summary = json.loads(checked.stdout)["summary"]
    assert summary["valid"] > 0
    assert summary["skipped"] == 0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("restartPolicy: Always", "restartPolicy: 1"),
        ("failureThreshold: 60", "failureTreshold: 60"),
        ("containerPort: 8080", "containerPort: http"),
        ("interval: 15s", "interwal: 15s"),
    ],
)
def test_the_check_would_notice(
    helm: Path, kubeconform: Path, schemas: str, right: str, wrong: str
) -> None:
    text = render(helm, *VARIANTS["everything"]).stdout
    assert right in text
    assert conform(kubeconform, schemas, text.replace(right, wrong)).returncode != 0


def test_the_sidecar_is_a_native_sidecar_and_restricted(helm: Path) -> None:
    pod = pod_of(resources(helm, *APP))
    [sidecar] = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    asked = [sidecar[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in asked] == ["/startupz", "/livez", "/readyz"]
    assert {probe["port"] for probe in asked} == {"ops"}
    ports = {port["name"]: port["containerPort"] for port in sidecar["ports"]}
    assert ports == {"http": 8080, "ops": 9901}
    security = sidecar["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert sidecar["lifecycle"]["preStop"]["exec"]["command"] == [
        "catzillactl", "drain", "--address", "unix:/run/catzilla/control.sock",
    ]  # fmt: skip


def test_both_containers_share_the_sockets(helm: Path) -> None:
    pod = pod_of(resources(helm, *APP))
    [sidecar], [app] = pod["initContainers"], pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert "emptyDir" in volumes["catzilla-run"]
    for container in (sidecar, app):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["catzilla-run"] == "/run/catzilla"
    assert {"name": "CATZILLA_RUNTIME_DIR", "value": "/run/catzilla"} in app["env"]
    assert pod["securityContext"]["fsGroup"] == sidecar["securityContext"]["runAsGroup"]


def test_alone_the_sidecar_is_the_container(helm: Path) -> None:
    pod = pod_of(resources(helm, *VARIANTS["alone"]))
    assert "initContainers" not in pod
    [only] = pod["containers"]
    assert only["name"] == "catzilla"
    assert "restartPolicy" not in only


def test_the_static_files_of_the_manual_reach_both_containers(
    helm: Path, kubeconform: Path, schemas: str, tmp_path: Path
) -> None:
    manual = (ROOT / "docs" / "kubernetes.md").read_text()
    [example] = [block.partition("```")[0] for block in manual.split("```yaml\n")[1:]]
    values = tmp_path / "values.yaml"
    values.write_text(example)
    made = render(helm, *APP, "--values", str(values))
    assert conform(kubeconform, schemas, made.stdout).returncode == 0
    pod = pod_of(resources(helm, *APP, "--values", str(values)))
    assert [container["name"] for container in pod["initContainers"]] == ["static", "catzilla"]
    for container in (pod["initContainers"][1], pod["containers"][0]):
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounts["/app/public"] == "static"


def test_ports_follow_the_configuration(helm: Path) -> None:
    found = resources(
        helm, *APP, "--set", "config.telemetry.ops_port=9000",
        "--set-json", 'config.listeners=[{"name":"http","address":"::","port":8000}]',
    )  # fmt: skip
    [sidecar] = pod_of(found)["initContainers"]
    assert [port["containerPort"] for port in sidecar["ports"]] == [8000, 9000]
    assert found["Service", "shop-catzilla-ops"]["spec"]["ports"][0]["port"] == 9000


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ([], 45),
        (["--set", "config.drain.delay=1m30s,config.drain.timeout=250ms"], 106),
        (["--set", "terminationGracePeriodSeconds=300"], 300),
    ],
)
def test_the_grace_period_covers_the_drain(helm: Path, options: list[str], seconds: int) -> None:
    pod = pod_of(resources(helm, *APP, *options))
    assert pod["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "app.image.repository is required"),
        ([*APP, "--set", "config.listerners=x"], "listerners"),
        ([*APP, "--set", "config.limits.max_headers=many"], "max_headers"),
        ([*APP, "--set", "replicas=3"], "replicas"),
        ([*APP, "--set", "terminationGracePeriodSeconds=10"], "shorter than config.drain.delay"),
        ([*APP, "--set", "metrics.serviceMonitor.enabled=true,metrics.service.enabled=false"],
         "metrics.service.enabled"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_name(
    helm: Path, options: list[str], complaint: str
) -> None:
    made = render(helm, *options)
    assert made.returncode != 0
    assert complaint in made.stderr


def test_the_values_schema_follows_the_proto() -> None:
    current = json.loads(config_schema.VALUES_SCHEMA.read_text())
    assert current == config_schema.updated(current), (
        "run: python tests/packaging/config_schema.py --write"
    )


def test_the_pieces_fit_into_a_chart_of_ones_own(
    helm: Path, kubeconform: Path, schemas: str, tmp_path: Path
) -> None:
    chart = tmp_path / "mine"
    (chart / "templates").mkdir(parents=True)
    (chart / "charts").mkdir()
    (chart / "charts" / "catzilla").symlink_to(CHART)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: mine\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("catzilla:\n  deployment:\n    enabled: false\n")
    readme = (CHART / "README.md").read_text()
    [example] = [
        block.partition("```")[0] for block in readme.split("```yaml\n")[1:] if "include" in block
    ]
    (chart / "templates" / "deployment.yaml").write_text(example)
    made = render(helm, chart=chart)
    assert made.returncode == 0, made.stderr
    checked = conform(kubeconform, schemas, made.stdout)
    assert checked.returncode == 0, checked.stdout
    pod = pod_of(resources(helm, chart=chart), "mine")
    assert pod["initContainers"][0]["restartPolicy"] == "Always"
    assert pod["volumes"][1]["configMap"]["name"] == "shop-catzilla"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_sidecar_accepts_the_rendered_configuration(
    helm: Path, sidecar_program: Path, tmp_path: Path, variant: str
) -> None:
    found = resources(helm, *VARIANTS[variant])
    text: str = found["ConfigMap", "shop-catzilla"]["data"]["catzilla.yaml"]
    file = tmp_path / "catzilla.yaml"
    file.write_text(text.replace("/srv", str(tmp_path)))
    made = subprocess.run(
        [sidecar_program, "--check", "--config", file], text=True, capture_output=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr


def test_the_sidecar_refuses_what_the_schema_cannot_know(
    helm: Path, sidecar_program: Path, tmp_path: Path
) -> None:
    found = resources(helm, *APP, "--set", "config.drain.delay=5parsecs")
    file = tmp_path / "catzilla.yaml"
    file.write_text(found["ConfigMap", "shop-catzilla"]["data"]["catzilla.yaml"])
    made = subprocess.run(
        [sidecar_program, "--check", "--config", file], text=True, capture_output=True, check=False
    )
    assert made.returncode != 0
    assert "drain.delay" in made.stdout + made.stderr
