"""A receiver that fails loses its flow, and no other notices."""

from __future__ import annotations

import logging

import pytest
from tunnel_ends import ORIGIN, Recorder, echo, open_flow, open_target, open_tunnel, run


class Failing(Recorder):
    """Fails when it is told one thing."""

    def __init__(self, what):
        super().__init__()

        def fail(*arguments, **options):
            setattr(self, what, lambda *_, **__: None)
            self.changed.set()
            raise ZeroDivisionError(what)

        setattr(self, what, fail)

    def closed(self, *, reset):
        self.end = "reset" if reset else "end"
        self.changed.set()


@pytest.mark.parametrize(
    "what", ["opened", "data_received", "eof_received", "pause_writing", "resume_writing", "closed"]
)
def test_a_receiver_that_fails_is_reset_and_reported(what, ssh_path, caplog):
    async def scenario():
        async with open_tunnel() as (link, _), open_target(echo) as port:
            other = open_flow(link, port)
            flow = await other.until_open()
            failing = Failing(what)
            link.open_tcp("127.0.0.1", port, ORIGIN, failing)
            if what == "opened":
                await failing.until(lambda r: r.end)
            else:
                bad = await failing.until_open()
                bad.write(bytes(1 << 24))  # far more than a window
                bad.write_eof()
                await failing.until(lambda r: r.end or (what == "closed" and r.eof))
            if what != "closed":
                assert failing.end == "reset"
            flow.write(b"still here")
            await other.until(lambda r: r.data == b"still here")
            assert link.closed is None
            flow.reset()

    with caplog.at_level(logging.ERROR):
        run(scenario())
    errors = [record for record in caplog.records if record.exc_info]
    assert [type(record.exc_info[1]) for record in errors] == [ZeroDivisionError]
