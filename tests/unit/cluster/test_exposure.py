"""`--expose`: what is written, and which port of the pod is meant."""

import pytest

from ktnet.cluster.exchange.exposure import (
    ExposedPort,
    Exposure,
    parse_exposures,
    resolve_exposures,
)
from ktnet.errors import NotFound, UsageError

POD = {
    "containers": [
        {"ports": [{"containerPort": 8080, "name": "http"}, {"containerPort": 9000}]},
        {"ports": [{"containerPort": 53, "name": "dns", "protocol": "UDP"}]},
    ]
}


def service(*ports: dict) -> dict:
    return {"spec": {"ports": list(ports)}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", [Exposure(8080)]),
        ("8080:80", [Exposure(8080, 80)]),
        ("8080:http", [Exposure(8080, "http")]),
        ("db.local:5432", [Exposure(5432, None, "db.local")]),
        ("10.0.0.1:5432:80", [Exposure(5432, 80, "10.0.0.1")]),
        ("[::1]:5432:pg", [Exposure(5432, "pg", "::1")]),
        ("8080:80, 9090:90", [Exposure(8080, 80), Exposure(9090, 90)]),
        ("8080/tcp", [Exposure(8080)]),
    ],
)
def test_parsed(text: str, expected: list):
    assert list(parse_exposures(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "http", "0", "70000", "-1", "8080:0", "8080:70000", "a:b:c:d", ":80", "8080:"),
        *("8080:UP", "8080:80,9090:80", "8080,", "٣", "8080:7022", "9" * 20, "a:8080:b_c"),
    ],
)
def test_refused(text: str):
    with pytest.raises(UsageError):
        parse_exposures(text)


def test_udp_is_refused_by_its_name():
    with pytest.raises(UsageError, match="UDP"):
        parse_exposures("53/udp")


@pytest.mark.parametrize(
    ("text", "services", "expected"),
    [
        ("3000", [service({"port": 80, "targetPort": 8080})], (8080, "http")),
        ("3000", [service({"port": 80, "targetPort": "http"})], (8080, "http")),
        ("3000", [service({"port": 7777})], (7777, "")),
        ("3000:http", [], (8080, "http")),
        ("9000", [], (9000, "")),
        (
            "9000",
            [service({"port": 80, "targetPort": 8080}, {"port": 90, "targetPort": 9000})],
            (9000, ""),
        ),
        (
            "90",
            [service({"port": 80, "targetPort": 8080}, {"port": 90, "targetPort": 9000})],
            (9000, ""),
        ),
        ("3000:1234", [], (1234, "")),
    ],
)
def test_resolved(text: str, services: list, expected: tuple):
    (port,) = resolve_exposures(parse_exposures(text), POD, services)
    assert (port.remote, port.name) == expected
    assert port.local == parse_exposures(text)[0].local


def test_nothing_is_known_of_the_pod():
    (port,) = resolve_exposures(parse_exposures("3000"), {}, [])
    assert port == ExposedPort(3000, 3000)


def test_which_one_has_to_be_said():
    two = [service({"port": 80, "targetPort": 8080}, {"port": 90, "targetPort": 9000})]
    with pytest.raises(UsageError, match="which port") as error:
        resolve_exposures(parse_exposures("3000"), POD, two)
    assert "8080, 9000" in error.value.hint
    with pytest.raises(NotFound, match="https"):
        resolve_exposures(parse_exposures("3000:https"), POD, two)
    with pytest.raises(UsageError, match="twice"):
        resolve_exposures(parse_exposures("3000:http,3001:8080"), POD, two)
    udp = [service({"port": 53, "protocol": "UDP", "targetPort": "dns"})]
    with pytest.raises(UsageError):
        resolve_exposures(parse_exposures("3000"), POD, udp)
