"""The README's table of exit codes and the tree of errors say the same."""

import re
from collections.abc import Iterator
from pathlib import Path

from ktnet import errors
from ktnet.errors import KtnetError

ROOT = Path(__file__).parents[2]
DONE = 0


def read_table() -> dict[int, str]:
    """Exit code and what it stands for, from the README's section."""
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## Exit codes\n")
    section, _, _ = rest.partition("\n## ")
    lines = " ".join(section.split()).rstrip(".").split(" · ")
    rows = [re.fullmatch(r"(\d+) (.+)", line) for line in lines]
    assert all(rows), lines
    pairs = [(int(row[1]), row[2]) for row in rows if row is not None]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def list_errors(kind: type[KtnetError] = KtnetError) -> Iterator[type[KtnetError]]:
    """The tree of `ktnet.errors`."""
    yield kind
    for each in kind.__subclasses__():
        yield from list_errors(each)


def test_the_table_has_every_code_and_no_other() -> None:
    ours = {each for each in list_errors() if each.__module__ == errors.__name__}
    assert {each.exit_code for each in ours} | {DONE} == read_table().keys()


def test_no_two_kinds_share_a_code() -> None:
    """But those of which one is a special case of the other, and what is a bug."""
    kinds: dict[int, type[KtnetError]] = {}
    for each in list_errors():
        if each.exit_code == KtnetError.exit_code or each.__module__ != errors.__name__:
            continue
        assert issubclass(each, kinds.setdefault(each.exit_code, each)), each


def test_no_error_elsewhere_has_a_code_of_its_own() -> None:
    """What other parts derive from the tree, and what isn't of it, has a code of the table."""
    for path in (ROOT / "ktnet").rglob("*.py"):
        found = re.findall(r"^    exit_code(?:: int)? = (\d+)$", path.read_text(), re.MULTILINE)
        assert {int(code) for code in found} <= read_table().keys(), path


def test_each_code_means_what_its_error_says() -> None:
    table = read_table()
    words = {
        errors.UsageError: "usage or configuration",
        errors.HostPermissionError: "right on this machine",
        errors.ClusterUnreachable: "unreachable or not authorised",
        errors.Forbidden: "forbidden",
        errors.ShadowFailed: "shadow did not start",
        errors.TunnelError: "tunnel",
        errors.HostNetworkError: "host network",
        errors.DnsError: "DNS",
        errors.Conflict: "held by somebody else",
        errors.NotFound: "not found",
        errors.Interrupted: "interrupted before it was ready",
    }
    assert {each.exit_code for each in words} | {DONE, KtnetError.exit_code} == table.keys()
    for kind, said in words.items():
        assert said in table[kind.exit_code]
