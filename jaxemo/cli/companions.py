"""Whether the other processes of a command are still there; once one is gone, all end with one line.

jax misses a process by its heartbeat, after 100 s, and then aborts the others with a stack trace. Here each
process holds a connection with the first, which the operating system closes when either of them ends,
however it ends.
"""

import contextlib
import logging
import secrets
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from jaxemo.cli.launch import Launch
from jaxemo.data.stopping import Stopped

logger = logging.getLogger("jaxemo")

_GOODBYE = -1
_CONNECT_SECONDS = 30.0
_number = struct.Struct("!i")


@contextlib.contextmanager
def ended_together(launch: Launch, on_loss: Callable[[int], None]) -> Iterator[None]:
    """While it lasts, `on_loss` hears the number of a process that is gone, in a thread of its own.

    A process that comes to the end of the block, or leaves it with all others in training, is not gone.
    """
    import jax

    from jaxemo.training.processes import is_first, word_of_first

    server = socket.create_server(("", 0)) if is_first() else None
    address = _numeric(_name_of_first(launch)) if server else 0
    port = server.getsockname()[1] if server else 0
    # Whoever else knocks at the port does not know the word.
    address, port, word = (
        word_of_first(number) for number in (address, port, secrets.randbits(31))
    )
    connections: list[socket.socket] = []
    if server is not None:
        watch, arguments = _watch_all, (server, connections, word, on_loss)
    else:
        first = _connected(address, port, word, jax.process_index())
        if first is not None:
            connections.append(first)
        watch, arguments = _watch_first, (connections, on_loss)
    threading.Thread(target=watch, args=arguments, daemon=True).start()
    try:
        yield
    except Stopped as stop:
        if stop.awaited:
            _tell(connections, _GOODBYE)
        raise
    _tell(connections, _GOODBYE)


def _name_of_first(launch: Launch) -> str:
    address = launch.arguments.get("coordinator_address")
    return socket.gethostname() if address is None else address.rpartition(":")[0].strip("[]")


def _numeric(host: str) -> int:
    """An IPv4 address as one number; 0 where the host has none."""
    try:
        return _number.unpack(socket.inet_aton(socket.gethostbyname(host)))[0]
    except OSError:
        return 0


def _connected(address: int, port: int, word: int, process: int) -> socket.socket | None:
    host = socket.inet_ntoa(_number.pack(address))
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
        connection.sendall(_number.pack(word) + _number.pack(process))
    except OSError as error:
        logger.warning(
            "process %d cannot reach %s:%d of the first one (%s): if one of them is gone, jax notices by "
            "its heartbeat, after 100 s",
            process,
            host,
            port,
            error,
        )
        return None
    connection.settimeout(None)
    return connection


def _watch_first(connections: list[socket.socket], on_loss: Callable[[int], None]) -> None:
    for connection in connections:
        lost = _read(connection)
        if lost != _GOODBYE:
            on_loss(0 if lost is None else lost)


def _watch_all(
    server: socket.socket,
    connections: list[socket.socket],
    word: int,
    on_loss: Callable[[int], None],
) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection is server:
                    joined, _ = server.accept()
                    joined.settimeout(_CONNECT_SECONDS)
                    if _read(joined) == word:
                        connections.append(joined)
                        selector.register(joined, selectors.EVENT_READ, _read(joined))
                    continue
                selector.unregister(connection)
                connections.remove(connection)
                if _read(connection) != _GOODBYE:
                    _tell(connections, key.data)
                    on_loss(key.data)


def _read(connection: socket.socket) -> int | None:
    """The next number; None where the connection has ended."""
    try:
        received = connection.recv(_number.size, socket.MSG_WAITALL)
    except OSError:
        return None
    return _number.unpack(received)[0] if len(received) == _number.size else None


def _tell(connections: list[socket.socket], number: int) -> None:
    for connection in list(connections):
        with contextlib.suppress(OSError):  # It is gone too.
            connection.sendall(_number.pack(number))
