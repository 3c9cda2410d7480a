"""The Roles of `ktnet exchange` and `ktnet run` in docs/exchange.md: enough, and none too many."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from exchange_state import left_behind, read_state
from inbound_scene import fails, open_app, open_command

from ktnet.cluster.rights import Right, build_rules, list_for_exchange, list_required
from ktnet.lab.harness import Lab, open_lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl reads the objects"),
]

COMMANDS = {
    "run": ("run", "preview", "--expose", "8080:80"),
    "scale": ("exchange", "tomcat", "--expose", "8080"),
    "selector": ("exchange", "service/tomcat", "--expose", "8080", "--mode", "selector"),
}
RIGHTS = {
    "run": list_required("run"),
    "scale": (*list_required("exchange"), *list_for_exchange("deployments")),
    "selector": (*list_required("exchange"), *list_for_exchange("services")),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with open_lab(f"roles-{os.getpid()}") as lab:
        yield lab


@pytest.mark.soak
@pytest.mark.parametrize("what", RIGHTS)
def test_the_required_rights_are_enough(lab: Lab, what: str) -> None:
    kubeconfig = str(lab.user("ada", *build_rules(RIGHTS[what])))
    before = read_state(lab)
    options = (*COMMANDS[what], "--kubeconfig", kubeconfig)
    with open_app(lab, 8080), open_command(lab, *options) as client:
        client.wait_for("ready")
        code, err = client.end()
        assert code == 0, err
        assert "not allowed" not in err
    assert left_behind(lab, before) == []


@pytest.mark.soak
@pytest.mark.parametrize(
    ("what", "missing"),
    [(what, right) for what, rights in RIGHTS.items() for right in dict.fromkeys(rights)],
    ids=lambda value: f"{value.verb}-{value.resource}" if isinstance(value, Right) else value,
)
def test_without_one_of_them_it_is_named_and_nothing_is_made(
    lab: Lab, what: str, missing: Right
) -> None:
    rules = build_rules(right for right in RIGHTS[what] if right != missing)
    kubeconfig = str(lab.user("bob", *rules))
    before = read_state(lab)
    with open_app(lab, 8080):
        code, err = fails(lab, *COMMANDS[what], "--kubeconfig", kubeconfig)
    assert (code, f"{missing.verb} {missing.resource}" in err) == (5, True), err
    assert left_behind(lab, before) == []
