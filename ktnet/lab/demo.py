"""`ktnet lab demo`: a lab, a connection to it, each promise tried, everything undone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ktnet.lab.harness import Lab, open_connection, open_lab


class DemoFailed(click.ClickException):
    """One of the demo's promises did not hold."""


def run_demo() -> None:
    """Runs the demo; raises DemoFailed at the first step that does not hold."""
    started_s = last_s = time.monotonic()
    with open_lab(f"demo-{os.getpid()}") as lab:
        say("lab up: an API server, a node, pods and a laptop", last_s)
        before = lab.census()
        with step("the laptop has no way to the cluster yet"):
            expect_error(lab, f"http://{before['tomcat']['clusterIP']}/", "ENETUNREACH")
        with open_connection(lab, show=lambda line: click.echo(f"    {line}")) as connection:
            visit_everything(lab, before["tomcat"])
            with step("ktnet connect ends on Ctrl-C"):
                code = connection.end()
                if code != 0:
                    raise DemoFailed(f"ktnet connect ended with exit code {code}")
        with step("undone: links, addresses, routes, rules, resolver and cluster are as before"):
            expect_equal(before, lab.census())
        last_s = time.monotonic()
    say("lab down", last_s)
    say("all of it held", started_s)


def visit_everything(lab: Lab, tomcat: dict[str, str]) -> None:
    """The promises of `connect`, one step each."""
    for url in (
        f"http://{tomcat['clusterIP']}/",
        "http://tomcat.demo.svc.cluster.local/",
        "http://tomcat.demo/",
        f"http://{tomcat['podIP']}:8080/",
    ):
        with step(f"{url} answers"):
            expect_answer(lab, url, tomcat["podName"])
    with step("a closed port is refused"):
        expect_error(lab, f"http://{tomcat['podIP']}:81/", "ECONNREFUSED")


def expect_answer(lab: Lab, url: str, text: str) -> None:
    answer = lab.visit(url)
    if answer.get("status") != 200 or text not in answer["body"]:
        raise DemoFailed(f"{url}: expected an answer from {text}, got {answer}")


def expect_error(lab: Lab, url: str, error: str) -> None:
    answer = lab.visit(url)
    if answer.get("error") != error:
        raise DemoFailed(f"{url}: expected {error}, got {answer}")


def expect_equal(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key, value in before.items():
        if after[key] != value:
            raise DemoFailed(f"{key} was {value!r} and is {after[key]!r}")


@contextmanager
def step(text: str) -> Iterator[None]:
    """Shows a step with its time once it held."""
    start_s = time.monotonic()
    yield
    say(text, start_s)


def say(text: str, since_s: float) -> None:
    click.echo(f"{click.style('✓', fg='green')} {text}  {time.monotonic() - since_s:.2f} s")
