"""Requests that never end, and connections on which none comes: they are ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fsr_plugins.restore.page import guard

pytestmark = pytest.mark.skipif(find_spec('gradio') is None, reason='needs the extra web')

Message = MutableMapping[str, Any]


async def _page(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Reads the whole body, and says how long it was."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get('body', b'')), message.get('more_body', False)
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': str(length).encode()})


def _asked(folder: Path, parts: Iterator[bytes]) -> tuple[int, bytes]:
    """Status and body of an upload whose parts come one after the other; behind the last nothing comes."""
    sent: list[Message] = []

    async def receive() -> Message:
        part = next(parts, None)
        if part is None:
            await asyncio.Event().wait()
        return {'type': 'http.request', 'body': part, 'more_body': part != b''}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {'type': 'http', 'path': guard.UPLOAD, 'method': 'POST', 'headers': []}
    asyncio.run(asyncio.wait_for(guard.Guard(_page, folder, 1000, None)(scope, receive, send), 60))
    return sent[0]['status'], sent[1]['body']


def test_an_upload_that_stops_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, 'PAUSE', 0.2)
    status, said = _asked(tmp_path, iter([b'ab']))
    assert status == 408 and b'too long' in said
    assert _asked(tmp_path, iter([b'ab', b'c', b''])) == (200, b'3')


def test_an_upload_that_drips_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, 'WHOLE', 0.0)
    assert _asked(tmp_path, iter([b'ab', b'c', b'']))[0] == 408


def test_a_connection_without_a_request_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    from fsr_plugins.restore.page import connections

    monkeypatch.setattr(connections, 'IDLE', 0.2)

    async def asked(head: bytes) -> bytes:
        """What a client gets that sends this and waits."""
        with socket.create_server(('127.0.0.1', 0)) as listening:
            config = uvicorn.Config(_page, http=connections.PromptProtocol, lifespan='off', log_level='critical')
            server = uvicorn.Server(config)
            running = asyncio.create_task(server.serve(sockets=[listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname()[:2])
            writer.write(head)
            try:
                return await asyncio.wait_for(reader.read(), 60)
            finally:
                writer.close()
                server.should_exit = True
                with contextlib.suppress(asyncio.CancelledError):
                    await running

    assert asyncio.run(asked(b'')) == b''
    assert asyncio.run(asked(b'GET / HTTP/1.1\r\nHost:')) == b''
    answer = asyncio.run(asked(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\n'))
    assert answer.count(b'200 OK') == 1
