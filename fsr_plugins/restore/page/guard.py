"""What stands before the page's server: only what the page needs is answered, and no request is without bounds.

Gradio answers much more than this page needs, such as routes that fetch other pages or store what is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any

from fsr_plugins.errors import shown
from fsr_plugins.restore.page.folder import has_room

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: An application of ASGI.
Application = Callable[[Message, Receive, Send], Awaitable[None]]

UPLOAD = '/gradio_api/upload'
FILE = '/gradio_api/file='
#: Bytes of the body of any other request.
_BODY = 1 << 20
#: Seconds that a request's body may pause, and those that it may take altogether.
PAUSE, WHOLE = 30.0, 600.0
#: What an upload has beside the picture's own bytes: the lines between its parts.
_AROUND = 1 << 16
_READ = re.compile(
    r'/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/pwa_icon(/\d{1,4})?|/robots\.txt|/(assets|static)/[\w./@-]{1,200}'
    r'|/gradio_api/(theme\.css|info/?|app_id/?|startup-events|queue/data|queue/status|upload_progress'
    r'|heartbeat/[\w-]{1,64}|call/restore/[\w-]{1,64})'
)
_WRITTEN = re.compile(r'/gradio_api/(upload|queue/join|call/restore|cancel|reset)/?')
#: Nothing but what this server itself has is loaded; other pages cannot show this one inside.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; worker-src 'self' blob:; font-src 'self' data:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)
_HEADERS = [
    (b'content-security-policy', _POLICY.encode()),
    (b'referrer-policy', b'no-referrer'),
    (b'x-content-type-options', b'nosniff'),
]


_UNREADABLE = 'The request cannot be answered: it is not of the form that this page sends.'


class _Refused(Exception):
    """A request that has been answered already."""


def _too_large(most: int) -> tuple[int, str]:
    return 413, f'The request is too large: at most {most} bytes are taken.'


async def _in_time(receive: Receive, end: float) -> Message | None:
    """The next part of a request; None where it does not come in time."""
    try:
        return await asyncio.wait_for(receive(), min(PAUSE, max(0.0, end - time.monotonic())))
    except asyncio.TimeoutError:  # which is the built-in one from Python 3.11 on
        return None


class Guard:
    """An application of ASGI around the page's.

    Args:
        inner: the page's.
        folder: the only one whose files are given out.
        most: bytes of an upload's picture.
        hosts: the names by which the server may be called, without ports; None: any. A page of somebody else whose
            name is made to point to this machine is refused by them.
    """

    def __init__(self, inner: Application, folder: Path, most: int, hosts: Collection[str] | None) -> None:
        self.inner, self.folder, self.most, self.hosts = inner, folder.resolve(), most + _AROUND, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request, or passes it on within bounds."""
        if scope['type'] == 'lifespan':
            await self.inner(scope, receive, send)
        elif scope['type'] == 'http':
            await self._answer(scope, receive, send)
        else:
            await send({'type': 'websocket.close', 'code': 1008})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        left = most = self.most if scope['path'].startswith(UPLOAD) else _BODY
        state, is_whole, end = 'waiting', False, time.monotonic() + WHOLE

        async def told(status: int, text: str) -> None:
            nonlocal state
            if state == 'waiting':
                await send({
                    'type': 'http.response.start', 'status': status,
                    'headers': [(b'content-type', b'text/plain; charset=utf-8'), *_HEADERS],
                })  # fmt: skip
                await send({'type': 'http.response.body', 'body': text.encode() + b'\n'})
            state = 'told'

        async def received() -> Message:
            nonlocal left, is_whole
            # Behind the body comes only that the client has gone, and that takes any time.
            message = await (receive() if is_whole else _in_time(receive, end))
            if message is None:
                await told(408, 'The request took too long to come: send it again.')
                raise _Refused
            is_whole = not message.get('more_body', False)
            left -= len(message.get('body', b''))
            if left < 0:
                await told(*_too_large(most))
                raise _Refused
            return message

        async def sent(message: Message) -> None:
            nonlocal state
            if state == 'told':
                return
            if message['type'] == 'http.response.start':
                if message['status'] == 500:  # what raised follows, and is told below
                    await told(400, _UNREADABLE)
                    return
                state = 'begun'
                message['headers'] = [*message.get('headers', ()), *_HEADERS]
            await send(message)

        refusal = self._refusal(scope, left)
        is_upload = refusal is None and scope['path'].startswith(UPLOAD)
        if is_upload and not await asyncio.to_thread(has_room, self.folder, self.most):
            refusal = 503, 'There is no room for more pictures now: try again in some minutes.'
        if refusal is not None:
            await told(*refusal)
            return
        try:
            await self.inner(scope, received, sent)
        except _Refused:
            pass
        except Exception as error:
            # A client that sends unreadable requests must not fill the log.
            last = traceback.extract_tb(error.__traceback__)[-1]
            logger.warning(
                '%s %s was not answered: %s (%s:%d).',
                scope['method'], shown(scope['path']), type(error).__name__, last.filename, last.lineno,
            )  # fmt: skip
            await told(400, _UNREADABLE)

    def _refusal(self, scope: Message, most: int) -> tuple[int, str] | None:
        """Status and text by which a request is refused before anything of it is read."""
        headers = {name.lower(): value for name, value in scope['headers']}
        if self.hosts is not None:
            host = headers.get(b'host', b'').decode('latin-1').lower()
            if re.sub(r':\d+$', '', host) not in self.hosts:
                return 421, 'This page is not served under that name.'
        path, method = scope['path'], scope['method']
        # Of a page of somebody else a browser says so; from there only a link to this one may lead here.
        is_link = method == 'GET' and headers.get(b'sec-fetch-mode') == b'navigate'
        if headers.get(b'sec-fetch-site') in (b'cross-site', b'same-site') and not is_link:
            return 403, 'Another page asks for this: open the page itself.'
        if method in ('GET', 'HEAD') and path.startswith(FILE):
            return None if self._is_own(path.removeprefix(FILE)) else (403, 'That file is none of this page.')
        allowed = _READ if method in ('GET', 'HEAD') else _WRITTEN if method == 'POST' else None
        if allowed is None or not allowed.fullmatch(path) or '..' in path:
            return 404, 'There is nothing here.'
        length = headers.get(b'content-length', b'0')
        if not length.isdigit() or len(length) > 18:
            return 400, 'The length of the request is no number.'
        if int(length) > most:
            return _too_large(most)
        return None

    def _is_own(self, name: str) -> bool:
        try:
            path = os.path.realpath(name)
            return Path(path).is_relative_to(self.folder) and os.path.isfile(path) and os.path.isabs(name)
        except (OSError, ValueError):  # a name that the system does not take
            return False
