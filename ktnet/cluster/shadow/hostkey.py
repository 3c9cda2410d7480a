"""The shadow's SSH host key, read from its log.

The log comes through the API server, so it deserves the trust that the pod's own spec rests on.
"""

from __future__ import annotations

import asyncio

from ktnet.cluster.server.answers import Refused, one_line
from ktnet.cluster.server.api import Api
from ktnet.cluster.shadow.manifests import CONTAINER
from ktnet.cluster.shadow.verdict import RunningPod, judge_pod
from ktnet.errors import NotFound, ShadowFailed
from ktnet.wire.shadow import find_arming, find_host_key

_LOG_LINES = 2000
"""The shadow repeats its key every 1,000 lines, and the kubelet serves the newest file only."""

_ARMING_TIMEOUT_S = 20.0
"""It tries for 10 s, as the rights that it was given may come late (`ktnet.shadow.restoring`)."""

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.03, 0.5

_VERSION_HINT = "is it the image of this ktnet's own version?"


async def read_host_key(
    api: Api, namespace: str, pod: RunningPod, timeout_s: float
) -> tuple[RunningPod, str]:
    """The pod with the container that runs now, and its host key: "ssh-ed25519 BASE64".

    Asks again while there is no key: the log is refused (400) until the kubelet knows the
    container, and empty until the shadow has started. Raises ShadowFailed where the shadow ends,
    or time is over, and RemoteProtocolError where it speaks another version of the protocol.
    """
    delay_s, last_words = _FIRST_DELAY_S, ""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                text = await _read_log(api, namespace, pod.name)
                key = find_host_key(text)
                last_words = _last_line(text) or last_words
                # A log names no container: is it still the one that we know?
                now = judge_pod(await api.get("pods", pod.name, namespace=namespace))
                if now == pod and key:
                    return pod, key
                if isinstance(now, RunningPod):
                    pod = now
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
    except TimeoutError:
        raise ShadowFailed(
            f"the shadow runs but publishes no host key within {timeout_s:g} s",
            hint=_last_words_hint(last_words),
        ) from None
    except NotFound as error:
        raise ShadowFailed("the shadow pod was deleted while it started") from error
    except ShadowFailed as error:
        raise ShadowFailed(error.message, hint=_last_words_hint(last_words)) from error


async def read_arming(api: Api, namespace: str, pod: str) -> bool:
    """Whether this shadow can put back by itself what is taken; one that doesn't say can't."""
    delay_s = _FIRST_DELAY_S
    try:
        async with asyncio.timeout(_ARMING_TIMEOUT_S):
            while (verdict := find_arming(await _read_log(api, namespace, pod))) is None:
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            return verdict
    except TimeoutError:
        return False


async def _read_log(api: Api, namespace: str, pod: str) -> str:
    try:
        return await api.read_log(pod, CONTAINER, namespace=namespace, tail=_LOG_LINES)
    except Refused as error:
        # 400: no container yet; 500: the kubelet lost it this moment.
        if error.code not in {400, 500}:
            raise
        return ""


def _last_line(text: str) -> str:
    lines = text.rstrip().splitlines()
    return one_line(lines[-1]) if lines else ""


def _last_words_hint(last_words: str) -> str:
    return f"its last words: {last_words}" if last_words else _VERSION_HINT
