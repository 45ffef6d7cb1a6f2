"""Requests of anything against the page: none of them does harm, and none fills the log."""

from __future__ import annotations

import random
import socket
from importlib.util import find_spec
from urllib.parse import quote, urlparse

import pytest
from page_server import PageServer, encoded, photograph

pytestmark = pytest.mark.skipif(find_spec('gradio') is None, reason='needs the extra web')

PATHS = ('', 'config', 'gradio_api/queue/join', 'gradio_api/queue/data', 'gradio_api/upload', 'gradio_api/call/restore',
         'gradio_api/call/restore/x', 'gradio_api/call/v2/restore', 'gradio_api/file=', 'gradio_api/cancel',
         'gradio_api/reset', 'gradio_api/info', 'gradio_api/heartbeat/x', 'gradio_api/startup-events', 'theme.css',
         'gradio_api/upload_progress', 'assets/', 'static/', 'gradio_api/app_id')  # fmt: skip
METHODS = ('GET', 'GET', 'POST', 'POST', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'X')
KINDS = ('application/json', 'multipart/form-data; boundary=x', 'multipart/form-data', 'text/plain', '', '\x80/;=')
WORDS = ('data', 'fn_index', 'session_hash', 'event_id', 'trigger_id', 'event_data', 'simple_format', 'batched', 'path',
         'meta', '_type', 'gradio.FileData', 'url', '../..', '/etc/passwd', 'auto', 'face_x4_blind', 'x')  # fmt: skip


def value(rng: random.Random, depth: int = 0) -> str:
    """JSON of anything, with words that the server knows."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind < 2:
        return f'"{rng.choice(WORDS)}"'
    if kind < 5:
        return rng.choice(['0', '1', '-1', '1e999', '0.5', 'null', 'true', '99999999999999999999', 'NaN', '""'])
    many = rng.randrange(5)
    if kind == 5:
        return '[' + ','.join(value(rng, depth + 1) for _ in range(many)) + ']'
    return '{' + ','.join(f'"{rng.choice(WORDS)}":{value(rng, depth + 1)}' for _ in range(many)) + '}'


def anything(rng: random.Random) -> bytes:
    """One request."""
    path = rng.choice(PATHS).encode()
    if rng.random() < 0.4:
        path += quote(rng.randbytes(rng.choice([1, 8, 300]))).encode()
    if rng.random() < 0.3:
        path += f'?{rng.choice(WORDS)}={rng.choice(WORDS)}&upload_id={rng.randrange(9)}'.encode()
    kind = rng.choice(KINDS)
    if rng.random() < 0.6:
        fields = {'data': value(rng), 'fn_index': rng.choice(['0', '1', '"x"']), 'session_hash': '"s"'}
        if rng.random() < 0.5:
            fields['data'] = f'[{value(rng)},{value(rng)},{value(rng)},{value(rng)}]'
        body = ('{' + ','.join(f'"{name}":{each}' for name, each in fields.items()) + '}').encode()
    elif rng.random() < 0.5:
        name = rng.choice(['a.png', '..', '../../x', '/etc/x', '', 'x' * 300, '\\', '%00'])
        field = rng.choice(['files', 'files', 'x'])
        shown = '' if rng.random() < 0.1 else f'; filename="{name}"'
        body = f'--x\r\nContent-Disposition: form-data; name="{field}"{shown}\r\n\r\n'.encode()
        body += rng.randbytes(20) + (b'\r\n--x--\r\n' if rng.random() < 0.8 else b'')
    else:
        body = rng.randbytes(rng.choice([0, 1, 50, 2000]))
    length = rng.choice([len(body)] * 8 + [-1, 0, 10**20])
    head = f'{rng.choice(METHODS)} /'.encode() + path
    head += f' HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n'.encode('latin-1')
    if rng.random() < 0.1:
        head += b'Transfer-Encoding: chunked\r\n'
    if rng.random() < 0.1:
        head = rng.randbytes(rng.choice([1, 40, 400])) + (head if rng.random() < 0.5 else b'')
    return head + b'Connection: close\r\n\r\n' + body


@pytest.mark.parametrize('number', [100, pytest.param(2000, marks=pytest.mark.long)])
def test_requests_of_anything_do_no_harm(page: PageServer, number: int) -> None:
    rng = random.Random(number)
    place = urlparse(page.url)
    statuses: dict[int, int] = {}
    for _ in range(number):
        with socket.create_connection((place.hostname, place.port), timeout=0.3) as line:
            try:
                line.sendall(anything(rng))
                answer = line.recv(12)
            except OSError:  # a stream waits before it says anything; a closed line is an answer
                answer = b''
        status = int(answer[9:12]) if len(answer) == 12 else 0
        statuses[status] = statuses.get(status, 0) + 1
    assert statuses.get(500, 0) == 0 and statuses.get(404, 0) and statuses.get(200, 0), statuses
    assert page.restored(encoded(photograph()), 'after.png')[0] == 'complete'
    said = page.said()
    assert 'Traceback' not in said, said[-5000:]
    names = {file.split('/')[1] for file in page.left()}
    assert names <= {'cache'}, names
