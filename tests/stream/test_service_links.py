"""Variables that Kubernetes sets for Services called `corrente…` are no settings; everything else still is one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stream.settings import WrongSetting, load_settings

SERVICE = {
    "CORRENTE_SERVICE_HOST": "10.96.4.17",
    "CORRENTE_SERVICE_PORT": "80",
    "CORRENTE_SERVICE_PORT_HTTP": "80",
    "CORRENTE_PORT": "tcp://10.96.4.17:80",
    "CORRENTE_PORT_80_TCP": "tcp://10.96.4.17:80",
    "CORRENTE_PORT_80_TCP_PROTO": "tcp",
    "CORRENTE_PORT_80_TCP_PORT": "80",
    "CORRENTE_PORT_80_TCP_ADDR": "10.96.4.17",
}
"""The variables of a Service `corrente` with one port, called `http`."""

LONGER = {name.replace("CORRENTE", "CORRENTE_METRICS", 1): value for name, value in SERVICE.items()}
"""Those of a Service `corrente-metrics`: `CORRENTE_METRICS_PORT` is a setting of ours."""

IPV6 = {
    name: value.replace("tcp://10.96.4.17", "tcp://[fd00::4:11]").replace("10.96.4.17", "fd00::4:11")
    for name, value in SERVICE.items()
}
UDP = {name.replace("TCP", "UDP"): value.replace("tcp", "udp") for name, value in SERVICE.items()}


@pytest.mark.parametrize("links", [SERVICE, LONGER, IPV6, UDP, SERVICE | LONGER], ids=str)
def test_the_variables_of_a_service_change_no_setting(links):
    assert load_settings(links) == load_settings({})


def test_settings_beside_the_variables_of_a_service_hold():
    assert load_settings(SERVICE | {"CORRENTE_PORT": "9000"}).port == 9000
    assert load_settings(LONGER | {"CORRENTE_METRICS_PORT": "9100"}).metrics_port == 9100


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("CORRENTE_SERVICE_HOST", "shop.example.com"),
        ("CORRENTE_SERVICE_PORT", "http"),
        ("CORRENTE_PORT", "tcp://10.96.4.17"),
        ("CORRENTE_PORT", "http://10.96.4.17:80"),
        ("CORRENTE_PORT", "tcp://10.96.4.17:800000"),
        ("CORRENTE_PORT_80_TCP_ADDR", "nowhere"),
        ("CORRENTE_PORT_80_TCP_PROTO", "http"),
        ("CORRENTE_PORT_80_HTTP", "tcp://10.96.4.17:80"),
        ("CORRENTE_SERVICE_PROT", "80"),
        ("CORRENTE_CLICK_TOPIC", "clicks"),
    ],
)
def test_a_variable_of_another_form_is_still_refused(changed, value):
    with pytest.raises(WrongSetting, match=r"no such setting|CORRENTE_PORT="):
        load_settings(SERVICE | {changed: value})


def test_a_url_alone_is_no_service_and_no_port():
    with pytest.raises(WrongSetting, match=r"CORRENTE_PORT='tcp://10\.96\.4\.17:80'"):
        load_settings({"CORRENTE_PORT": "tcp://10.96.4.17:80"})


def test_a_misspelt_setting_is_told_with_the_nearest_name_beside_a_service():
    with pytest.raises(WrongSetting, match=r"Did you mean CORRENTE_METRICS_HOST\?"):
        load_settings(SERVICE | {"CORRENTE_METRIC_HOST": "::"})


@pytest.mark.unmeasured
def test_a_command_works_in_a_container_beside_a_service(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "stream.cli", "size"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **SERVICE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "items" in done.stdout
