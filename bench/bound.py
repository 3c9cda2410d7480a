"""What no tunnel like this can be faster than: two relays with its cipher, and nothing else.

python bench/bound.py near|far LISTEN_PORT:TARGET_PORT ...

A connection to the near one goes through the far one to its target, all on 127.0.0.1. In between
each piece is sealed by AES-128-GCM, as large as ktnet's packets. Nothing is shared between
connections, nothing is held back, no end is told from another: a thread for each way reads into a
buffer, has the cipher write into another, and sends that. So what a real tunnel takes beyond is
its own, and what this takes is the kernel's, the cipher's and a dozen lines of Python.
"""

import contextlib
import socket
import sys
import threading

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HOST = "127.0.0.1"
PIECE_BYTES = 254 * 1024
LENGTH_BYTES, TAG_BYTES = 4, 16
AROUND_BYTES = LENGTH_BYTES + TAG_BYTES


def seal(clear: socket.socket, sealed: socket.socket) -> None:
    cipher, count = AESGCM(bytes(16)), 0
    data, out = memoryview(bytearray(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES + 20))
    while size := clear.recv_into(data):
        count += 1
        end = size + AROUND_BYTES
        out[:LENGTH_BYTES] = size.to_bytes(LENGTH_BYTES, "big")
        cipher.encrypt_into(
            count.to_bytes(12, "big"), data[:size], out[:LENGTH_BYTES], out[LENGTH_BYTES:end]
        )
        sealed.sendall(out[:end])
    sealed.shutdown(socket.SHUT_WR)


def unseal(sealed: socket.socket, clear: socket.socket) -> None:
    cipher, count = AESGCM(bytes(16)), 0
    view = memoryview(bytearray(4 * PIECE_BYTES))
    start = end = 0
    while got := sealed.recv_into(view[end:]):
        end += got
        while end - start >= LENGTH_BYTES:
            begin = start + LENGTH_BYTES
            size = int.from_bytes(view[start:begin], "big")
            if end - start < size + AROUND_BYTES:
                break
            count += 1
            cipher.decrypt_into(
                count.to_bytes(12, "big"),
                view[begin : begin + size + TAG_BYTES],
                view[start:begin],
                view[begin : begin + size],
            )
            clear.sendall(view[begin : begin + size])
            start = begin + size + TAG_BYTES
        if start == end:
            start = end = 0
        elif len(view) - end < PIECE_BYTES + AROUND_BYTES:
            view[: end - start] = view[start:end]
            start, end = 0, end - start
    clear.shutdown(socket.SHUT_WR)


def relay(client: socket.socket, target_port: int, *, is_near: bool) -> None:
    with client, socket.create_connection((HOST, target_port)) as target:
        for each in (client, target):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clear, sealed = (client, target) if is_near else (target, client)
        back = threading.Thread(target=run, args=(unseal, sealed, clear))
        back.start()
        run(seal, clear, sealed)
        back.join()


def run(transfer, source: socket.socket, sink: socket.socket) -> None:
    # One that is reset has ended as well as any other here.
    with contextlib.suppress(OSError):
        transfer(source, sink)


def listen(listening: socket.socket, target_port: int, *, is_near: bool) -> None:
    while True:
        client, _ = listening.accept()
        options = {"is_near": is_near}
        threading.Thread(
            target=relay, args=(client, target_port), kwargs=options, daemon=True
        ).start()


def main() -> None:
    role, *pairs = sys.argv[1:]
    threads = []
    for pair in pairs:
        port, target_port = map(int, pair.split(":"))
        listening = socket.create_server((HOST, port), backlog=64)
        threads.append(
            threading.Thread(
                target=listen, args=(listening, target_port), kwargs={"is_near": role == "near"}
            )
        )
    print("ready", flush=True)
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
