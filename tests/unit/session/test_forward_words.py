"""What `ktnet forward` may be asked for."""

from __future__ import annotations

import pytest

from ktnet.errors import UsageError
from ktnet.session.targets import Forward, Target, parse_forwards

TOMCAT = Target("service", "tomcat")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("svc/tomcat 8080:80", [(TOMCAT, 8080, 80)]),
        ("service/tomcat 80", [(TOMCAT, 80, 80)]),
        ("svc/tomcat :80 :81", [(TOMCAT, 0, 80), (TOMCAT, 0, 81)]),
        ("svc/tomcat 0:80", [(TOMCAT, 0, 80)]),
        ("pod/db-0 5432", [(Target("pod", "db-0"), 5432, 5432)]),
        ("10.0.0.7 2222:22", [(Target("host", "10.0.0.7"), 2222, 22)]),
        ("fd00::7 2222:22", [(Target("host", "fd00::7"), 2222, 22)]),
        (
            "db.shop 5432 svc/tomcat 8080:80 8081:81",
            [(Target("host", "db.shop"), 5432, 5432), (TOMCAT, 8080, 80), (TOMCAT, 8081, 81)],
        ),
    ],
)
def test_targets_and_their_ports(words, found):
    assert parse_forwards(words.split()) == tuple(Forward(*each) for each in found)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("80", "which target"),
        ("svc/tomcat", "no port"),
        ("svc/tomcat pod/x 80", "no port is given for service/tomcat"),
        ("svc/tomcat 80 pod/x", "no port is given for pod/x"),
        ("svc/tomcat 65536", "1 to 65535"),
        ("svc/tomcat 80:0", "1 to 65535"),
        ("deploy/tomcat 80", "no target"),
        ("svc/ 80", "no target"),
        ("svc/a/b 80", "no target"),
        ("svc/tomcat 8080:80 8080:81", "asked for twice"),
    ],
)
def test_what_it_isnt_is_said(words, says):
    with pytest.raises(UsageError, match=says):
        parse_forwards(words.split())
