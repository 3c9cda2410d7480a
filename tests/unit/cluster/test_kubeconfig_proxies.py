"""Through which proxy, as Go's net/http decides it for kubectl."""

import pytest

from ktnet.cluster.kubeconfig.proxies import choose_proxy
from ktnet.errors import UsageError

PROXY = "http://proxy.corp:3128"


def choose(server, configured="", **environ):
    return choose_proxy(server, configured, environ)


def test_the_environment_decides_by_scheme():
    assert choose("https://a.example", HTTPS_PROXY=PROXY) == PROXY
    assert choose("https://a.example", https_proxy=PROXY) == PROXY
    assert choose("https://a.example", HTTP_PROXY=PROXY) is None
    assert choose("https://a.example", ALL_PROXY=PROXY) is None  # Go knows no such variable
    assert choose("http://a.example", HTTP_PROXY=PROXY) == PROXY
    assert choose("https://a.example", HTTPS_PROXY="proxy.corp:3128") == PROXY


def test_the_kubeconfigs_own_proxy_comes_first_and_no_proxy_has_no_say():
    own = "socks5://localhost:1080"
    assert choose("https://a.example", own, HTTPS_PROXY=PROXY, NO_PROXY="*") == own


def test_this_machine_itself_needs_no_proxy():
    for host in ("localhost:6443", "127.0.0.1", "127.1.2.3:8080", "[::1]:6443"):
        assert choose(f"https://{host}", HTTPS_PROXY=PROXY) is None


@pytest.mark.parametrize(
    ("host", "exempt", "direct"),
    [
        ("a.example", "*", True),
        ("a.example", "a.example", True),
        ("A.Example", "a.EXAMPLE", True),
        ("b.a.example", "a.example", True),
        ("ba.example", "a.example", False),
        ("a.example", ".a.example", False),
        ("b.a.example", ".a.example", True),
        ("b.a.example", "*.a.example", True),
        ("a.example", " x , a.example ", True),
        ("a.example:6443", "a.example:6443", True),
        ("a.example:6443", "a.example:443", False),
        ("a.example", "a.example:443", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:6443", "10.1.2.3:6443", True),
        ("10.1.2.3:6443", "10.1.2.3:1", False),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("a.example", "10.0.0.0/8", False),
        ("[fd00::1]:6443", "fd00::/8", True),
        ("[fd00::1]:6443", "[fd00::1]:6443", True),
        ("[fd00::1]:6443", "fd00::1", True),
        ("a.example", "", False),
        ("a.example", ",,", False),
    ],
)
def test_who_is_exempt(host, exempt, direct):
    found = choose(f"https://{host}", HTTPS_PROXY=PROXY, NO_PROXY=exempt)
    assert found == (None if direct else PROXY)


@pytest.mark.parametrize(
    "text", ["ftp://x", "socks4://x:1", "http://", "http://x:0", "http://[::1"]
)
def test_what_is_no_proxy(text):
    with pytest.raises(UsageError, match="no proxy that can be used"):
        choose("https://a.example", text)


def test_an_error_never_quotes_the_password():
    with pytest.raises(UsageError) as raised:
        choose("https://a.example", HTTPS_PROXY="ftp://me:S3CRET@x")
    assert "S3CRET" not in raised.value.message + raised.value.hint
