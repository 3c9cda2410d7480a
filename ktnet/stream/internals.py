"""Everything that leans on names that asyncssh doesn't promise to keep. Nothing else does.

asyncssh stays in charge of a connection: handshake, authentication, rekeying, and the channels
that `ktnet.stream.control` hasn't opened. What is taken from it once it is through with
authentication are the bytes: `Hold` takes the ciphers over, hands asyncssh the packets that aren't
a flow's, already opened, and seals what it sends. `find_obstacle` says whether this asyncssh is one
that this works with; the project pins its minor release as well.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import asyncssh
from asyncssh.channel import SSHChannel
from asyncssh.connection import SSHConnection
from asyncssh.encryption import GCMEncryption, get_encryption

from ktnet.errors import KtnetError
from ktnet.wire.sshchannel import Terms
from ktnet.wire.sshrecord import LENGTH_BYTES, MSG_IGNORE, TAG_BYTES, Opener, Sealer, parse_length

SUPPORTED = "2.24."

_CONNECTION_NAMES = {
    *("_auth_complete", "_kex_complete", "_recv_encryption", "_recv_macsize", "_send_encryption"),
    *("_inpbuf", "_packet", "_recv_handler", "_recv_seq", "_rekey_bytes", "_rekey_bytes_sent"),
    *("_compressor", "_decompressor"),
}
_CONNECTION_METHODS = {
    *("_recv_pkthdr", "_recv_packet", "_finish_recv_packet", "_reset_keepalive_timer"),
    *("send_packet", "_cleanup"),
}
_CHANNEL_NAMES = {
    *("_send_chan", "_recv_chan", "_send_window", "_send_pktsize", "_recv_window", "_recv_buf"),
}


@functools.cache
def find_obstacle() -> str | None:
    """Why the data path of our own can't be used with this asyncssh; None where it can."""
    if not asyncssh.__version__.startswith(SUPPORTED):
        return f"asyncssh is {asyncssh.__version__}, not {SUPPORTED}*"
    try:
        found = set(SSHConnection.__init__.__code__.co_names)
        lacking = _CONNECTION_NAMES - found
        lacking |= {name for name in _CONNECTION_METHODS if not hasattr(SSHConnection, name)}
        lacking |= _CHANNEL_NAMES - set(SSHChannel.__init__.__code__.co_names)
        if lacking:
            return f"asyncssh has no {', '.join(sorted(lacking))}"
        _try_ciphers()
    except (AttributeError, TypeError, ValueError, KtnetError) as error:
        return f"asyncssh's ciphers are other than expected: {error!r}"
    return None


def _try_ciphers() -> None:
    """Each end opens what the other seals. Raises where it doesn't."""
    iv = bytes(range(11)) + b"\xff"  # so that the counter's carry is seen
    theirs: Any = get_encryption(b"aes128-gcm@openssh.com", bytes(16), iv)
    sealer = Sealer(*_parse_key(theirs))
    other: Any = get_encryption(b"aes128-gcm@openssh.com", bytes(16), iv)
    opener = Opener(*_parse_key(other))
    for text in (b"a packet", b"another"):
        view = memoryview(bytearray(64))
        view[5 : 5 + len(text)] = text
        end = sealer.seal(view, 0, len(text), view, 0)
        packet, mac = bytes(view[: end - TAG_BYTES]), bytes(view[end - TAG_BYTES : end])
        plain = theirs.decrypt_packet(0, packet[:16], packet[16:], LENGTH_BYTES, mac)
        if plain is None or plain[1 : -plain[0]] != text:
            raise ValueError("asyncssh does not open what we seal")
        sealed, mac = other.encrypt_packet(0, packet[:4], plain)
        view[:end] = sealed + mac
        if opener.open(view, 0, parse_length(view, 0, len(view))) != len(text):
            raise ValueError("we do not open what asyncssh seals")


def _parse_key(encryption: Any) -> tuple[bytes, bytes]:
    """(key, IV of the next packet)."""
    cipher = encryption._cipher
    key, iv = cipher._key, cipher._iv
    if len(key) not in {16, 32} or len(iv) != 12:
        raise ValueError("not AES-GCM")
    return key, iv


class _Opened:
    """What asyncssh takes for a cipher: packets come to it opened, without a tag."""

    def decrypt_header(self, _seq: int, first: bytes, header_bytes: int) -> tuple[bytes, bytes]:
        return first, first[:header_bytes]

    def decrypt_packet(
        self, _seq: int, first: bytes, rest: bytes, header_bytes: int, _mac: bytes
    ) -> bytes:
        return first[header_bytes:] + rest


class _Sealing:
    """What asyncssh takes for a cipher: seals in one order with everything else."""

    def __init__(self, sealer: Sealer, before: Callable[[], object]) -> None:
        self._sealer = sealer
        self._before = before

    def encrypt_packet(self, _seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        self._before()
        return self._sealer.seal_packet(header, packet)


class Hold:
    """One connection whose bytes are ours."""

    def __init__(
        self,
        ssh: Any,
        became_idle: Callable[[], object],
        ended: Callable[[BaseException | None], object],
        before_sealing: Callable[[], object],
    ) -> None:
        """`became_idle`: asyncssh is through with a packet that took it more than a turn.

        `ended`: it has given the connection up, and ends its own channels next.
        `before_sealing`: it is going to seal a packet, after all that has been said before.
        """
        self._ssh = ssh
        self._before_sealing = before_sealing
        self._opened = _Opened()
        self._sealing: _Sealing | None = None
        self._sealer: Sealer | None = None
        self.opener = self._take_opener()
        self.rest = self._take_input()
        self._send_packet = ssh.send_packet
        ssh.send_packet = self._send_but_ignore
        finish = ssh._finish_recv_packet

        def finish_and_tell(*args: Any, **options: Any) -> None:
            finish(*args, **options)
            if options.get("is_async"):
                became_idle()

        ssh._finish_recv_packet = finish_and_tell
        cleanup = ssh._cleanup

        def tell_and_cleanup(exc: BaseException | None) -> None:
            ended(exc)
            cleanup(exc)

        ssh._cleanup = tell_and_cleanup

    @staticmethod
    def is_possible(ssh: Any) -> bool:
        """Whether the connection is authenticated, and at rest between two packets."""
        return (
            ssh._auth_complete
            and ssh._kex_complete
            and type(ssh._recv_encryption) is GCMEncryption
            and type(ssh._send_encryption) is GCMEncryption
            and not ssh._compressor
            and not ssh._decompressor
            and ssh._recv_handler in (ssh._recv_pkthdr, ssh._recv_packet)
        )

    # -- receiving -------------------------------------------------------------------------

    def _take_opener(self) -> Opener:
        opener = Opener(*_parse_key(self._ssh._recv_encryption))
        self._ssh._recv_encryption = self._opened
        self._ssh._recv_macsize = 0
        return opener

    def _take_input(self) -> bytes:
        """The bytes that asyncssh has and hasn't opened yet."""
        ssh = self._ssh
        rest: bytes = ssh._packet + ssh._inpbuf
        ssh._packet = ssh._inpbuf = b""
        ssh._recv_handler = ssh._recv_pkthdr
        return rest

    def receive(self, packet: bytes, opened_before: int) -> None:
        """Have asyncssh deal with an opened packet, `opened_before` of ours having come before."""
        ssh = self._ssh
        ssh._recv_seq = (ssh._recv_seq + opened_before) & 0xFFFFFFFF
        ssh.data_received(packet)
        if ssh._recv_encryption is not self._opened:
            self.opener = self._take_opener()

    def is_busy(self) -> bool:
        """Whether asyncssh is still dealing with the last packet."""
        return bool(self._ssh._recv_handler != self._ssh._recv_pkthdr)

    def show_alive(self) -> None:
        """Bytes have come: the next keepalive has time."""
        self._ssh._reset_keepalive_timer()

    # -- sending ---------------------------------------------------------------------------

    def sealer(self) -> Sealer | None:
        """For the next packet of data; None while keys are being renewed."""
        ssh = self._ssh
        if not ssh._kex_complete:
            return None
        if ssh._send_encryption is not self._sealing:
            self._sealer = Sealer(*_parse_key(ssh._send_encryption))
            self._sealing = ssh._send_encryption = _Sealing(self._sealer, self._before_sealing)
        return self._sealer

    def count_sent(self, packet_bytes: int) -> None:
        """Has the keys renewed where they have been used enough."""
        ssh = self._ssh
        ssh._rekey_bytes_sent += packet_bytes
        if ssh._rekey_bytes_sent >= ssh._rekey_bytes:
            self._send_packet(MSG_IGNORE, bytes(4))  # asyncssh looks whether it is time

    def _send_but_ignore(self, kind: int, *args: bytes, **options: Any) -> None:
        """asyncssh puts an IGNORE before each packet, which CBC needs (RFC 4251 section 9.3.1)."""
        if kind != MSG_IGNORE:
            self._send_packet(kind, *args, **options)


class TakenChannel:
    """An open channel of asyncssh's, whose bytes are ours and whose end is asyncssh's."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.number: int = channel._recv_chan
        self.peer_number: int = channel._send_chan
        self.write_eof = channel.write_eof
        self.close = channel.close
        self.abort = channel.abort
        self.is_closing = channel.is_closing

    def take(self) -> tuple[Terms, int, list[bytes]]:
        """The peer's terms, what it may still send (bytes), and what asyncssh hasn't delivered."""
        channel = self._channel
        terms = Terms(self.peer_number, channel._send_window, channel._send_pktsize)
        received = [data for data, _ in channel._recv_buf]
        channel._recv_buf = []
        return terms, channel._recv_window, received

    @property
    def has_peer(self) -> bool:
        """Whether the peer still knows the channel: no CLOSE has been sent."""
        return self._channel._send_chan is not None


def is_forced_off() -> bool:
    """Whether the user wants asyncssh's own path: should ours be in somebody's way."""
    return os.environ.get("KTNET_SSH_PATH", "") == "asyncssh"


def set_next_window(listener: Any, window_bytes: int) -> None:
    """The receive window (bytes) of the next channel that comes by a remote listener: asyncssh
    gives all of them the same."""
    listener._window = window_bytes
