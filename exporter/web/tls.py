"""TLS in front of the WSGI server: ends it in an event loop, and passes the plain bytes on through a Unix socket.

A client that connects and says nothing holds up nobody: neither the accepting of others nor a thread of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import ssl
import threading
from collections.abc import Callable

import waitress

log = logging.getLogger("exporter.web.tls")
_HANDSHAKE_SECONDS = 10.0
_MOST_CONNECTIONS = 500
_BYTES = 65_536


class TlsServer:
    """Serves at a socket that listens already; `context` is asked once a connection, so certificates can change."""

    def __init__(
        self,
        listener: socket.socket,
        context: Callable[[], ssl.SSLContext],
        behind: waitress.server.BaseWSGIServer,
        path: str,
        folder: str,
    ):
        self._listener = listener
        self._context = context
        self._behind = behind
        self._path = path
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._accepting, name="tls", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until `close`."""
        self._thread.start()
        self._behind.run()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._behind.close()
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accepting(self) -> None:
        asyncio.set_event_loop(self._loop)
        accept = self._loop.create_task(self._accept())
        self._loop.run_forever()
        for task in (accept, *self._tasks):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(accept, *self._tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self) -> None:
        self._listener.setblocking(False)
        while True:
            try:
                client, _ = await self._loop.sock_accept(self._listener)
            except OSError as error:  # too many open files, for one: later there may be fewer
                log.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(1)
                continue
            if len(self._tasks) >= _MOST_CONNECTIONS:
                client.close()
                continue
            task = self._loop.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol,
                client,
                ssl=self._context(),
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=2.0,
            )
        except (OSError, ValueError) as error:  # no TLS, no certificate, gone; ssl.SSLError is an OSError
            log.debug("no TLS connection: %s", error)
            client.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        try:
            plain_reader, plain_writer = await asyncio.open_unix_connection(self._path, limit=_BYTES)
            try:
                both = [_pass_on(reader, plain_writer), _pass_on(plain_reader, writer)]
                _, waiting = await asyncio.wait(map(asyncio.ensure_future, both), return_when=asyncio.FIRST_COMPLETED)
                for one in waiting:
                    one.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
            finally:
                plain_writer.close()
        except OSError as error:
            log.debug("connection lost: %s", error)
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # one side is gone: so is the connection
        while data := await reader.read(_BYTES):
            writer.write(data)
            await writer.drain()
