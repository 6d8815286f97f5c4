"""A group whose offsets are committed through every kill.

It speaks the protocol by hand: real clients take up to a second to go on after a restart, which is longer
than most runs of the gateway here.
"""

import itertools
import socket
import struct
from contextlib import suppress

from tests.crash.checker import Commit
from tests.crash.senders import FINISH_S_MAX, TOPIC
from tests.crash.worker import Worker
from tests.support.wire import request

GROUP = "crash-test"
OFFSET_COMMIT = 8
OFFSET_FETCH = 9
COMMITS_PER_LOOK = 10
PAUSE_S = 0.01


class Refused(Exception):
    """The node answered with an error: what was asked for may be done or not."""


class Committer(Worker):
    """Commits ascending offsets, as fast as answers come, and asks now and then what they are."""

    def __init__(self, port: int, partitions: int) -> None:
        super().__init__("committer")
        self.commits: list[Commit] = []
        self._port = port
        self._partitions = partitions

    def work(self) -> None:
        """Commit until the end, on a new connection after each failure."""
        offsets = itertools.count()
        while not self.ending.wait(PAUSE_S):
            with suppress(OSError, Refused), self._connected() as connection:
                while not self.ending.is_set():
                    self._commit(connection, next(offsets))

    def look_at_all(self) -> None:
        """Ask for all partitions' offsets. Raises OSError or Refused where that fails."""
        with self._connected() as connection:
            for partition in range(self._partitions):
                self._look(connection, partition)

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), FINISH_S_MAX)

    def _commit(self, connection: socket.socket, offset: int) -> None:
        partition = offset % self._partitions
        if offset % COMMITS_PER_LOOK == 0:
            self._look(connection, partition)
        acked = False
        row = struct.pack(">iqh", partition, offset, -1)
        head = _string(GROUP) + struct.pack(">i", -1) + _string("") + struct.pack(">q", -1)
        try:
            answer = _call(connection, OFFSET_COMMIT, 2, head + _one_topic(row))
            error: int = struct.unpack(">h", answer[-2:])[0]
            if error:
                raise Refused(f"commit of {offset}: error {error}")
            acked = True
        finally:
            self.commits.append(Commit(partition, offset, acked=acked))

    def _look(self, connection: socket.socket, partition: int) -> None:
        row = struct.pack(">i", partition)
        answer = _call(connection, OFFSET_FETCH, 1, _string(GROUP) + _one_topic(row))
        row = answer[4 + len(_string(TOPIC)) + 4 :]
        index, offset = struct.unpack_from(">iq", row)
        error: int = struct.unpack(">h", row[-2:])[0]
        if error:
            raise Refused(f"look at partition {index}: error {error}")
        assert index == partition
        self.commits.append(Commit(partition, offset, told=True))


def _one_topic(row: bytes) -> bytes:
    return struct.pack(">i", 1) + _string(TOPIC) + struct.pack(">i", 1) + row


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _call(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    """The body of the answer. Raises OSError."""
    connection.sendall(request(api, version, 1, body))
    size, _ = struct.unpack(">ii", _exactly(connection, 8))
    return _exactly(connection, size - 4)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the node closed the connection")
        data += more
    return data
