"""The page's server: from the first socket to the folder that is removed at the end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fsr_plugins.atomic import cannot_be_made
from fsr_plugins.errors import Interrupted, UserError
from fsr_plugins.restore.page.folder import sweep
from fsr_plugins.restore.page.guard import Application, Guard
from fsr_plugins.restore.page.service import MOST_BYTES, Service
from fsr_plugins.restore.page.worker import Worker
from fsr_plugins.restore.restorers import Photographs
from fsr_plugins.values import Record

logger = logging.getLogger(__name__)

#: Names of this machine that nobody else can be reached by.
_LOCAL = frozenset({'localhost', '127.0.0.1', '[::1]'})
#: Connections at once; each open page keeps two or three.
_CONNECTIONS = 128
#: Seconds between two looks for old files.
_SWEEP = 60.0
#: Nothing is told to anybody, nothing fetched, and nothing kept outside the page's folder.
_ENVIRONMENT = {'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_DISABLE_TELEMETRY': '1', 'HF_HUB_OFFLINE': '1'}


@dataclass(frozen=True)
class PageRequest:
    """What is served, and where.

    Attributes:
        checkpoints: networks; none: all that are bundled.
        host: the address to listen at.
        port: 0: one that is free.
        device: see :func:`~fsr_plugins.restore.opening.open_network`.
        photographs: how faces are looked for; None: as :class:`~fsr_plugins.restore.restorers.Photographs` says.
    """

    checkpoints: Sequence[Path] = ()
    host: str = '127.0.0.1'
    port: int = 7860
    device: str = 'auto'
    photographs: Photographs | None = None


def serve(request: PageRequest) -> None:
    """Serves the page until a signal ends it; prints where it is.

    Raises:
        UserError: Gradio is not installed, the place is taken or not this machine's, or see :meth:`Service.open`.
        Interrupted: Ctrl-C has ended it, which is the usual end.
    """
    missing = [name for name in ('gradio', 'uvicorn', 'fastapi') if find_spec(name) is None]
    if missing:
        raise UserError(f"fsr serve needs {', '.join(missing)}: pip install 'fsr_plugins[web]'.")
    listening = _listening(request.host, request.port)
    try:
        service = Service.open(request.checkpoints, request.device, request.photographs)
        with _folder() as name, Worker() as worker:
            os.environ.update(_ENVIRONMENT | {'GRADIO_TEMP_DIR': name, 'GRADIO_EXAMPLES_CACHE': name})
            _run(service, worker, Path(name), listening, request.host)
    except KeyboardInterrupt:
        raise Interrupted('The page was ended by Ctrl-C; its files are removed.', signal.SIGINT) from None
    finally:
        listening.close()


def _folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix='fsr_serve_', ignore_cleanup_errors=True)
    except OSError as error:
        raise cannot_be_made(Path(tempfile.gettempdir()), error, 'set TMPDIR to another folder') from error


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port < 1 << 16:
        raise UserError(f'--port {port}: 0 to 65535 is needed, 0 for one that is free.')
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:  # a name that is none
        raise UserError(f"--host {host}: no address ({error}); '127.0.0.1' is this machine alone.") from error
    try:
        return socket.create_server(place, family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f'--port {port}: taken by another program; choose another, or 0 for a free one.') from error
        if error.errno == errno.EACCES:
            raise UserError(f'--port {port}: not for everybody here; choose one from 1024 on.') from error
        raise UserError(f'--host {host}: cannot be listened at ({error.strerror}).') from error


def _broken_off(loop: asyncio.AbstractEventLoop, context: Record) -> None:
    logger.warning('A connection was broken off: %s.', type(context.get('exception')).__name__)


def _run(service: Service, worker: Worker, folder: Path, listening: socket.socket, host: str) -> None:
    """Serves until the process is told to end."""
    import gradio as gr
    import uvicorn
    from fastapi import FastAPI

    from fsr_plugins.restore.page.connections import PromptProtocol
    from fsr_plugins.restore.page.layout import CSS, build, theme

    @asynccontextmanager
    async def cleaned(_: FastAPI) -> AsyncIterator[None]:
        async def again() -> None:
            while True:
                await asyncio.sleep(_SWEEP)
                await asyncio.to_thread(sweep, folder)

        # What is no HTTP at all ends here, each time with a traceback by itself.
        asyncio.get_running_loop().set_exception_handler(_broken_off)
        task = asyncio.create_task(again())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    page = build(service, worker, folder)
    app: Application = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=cleaned),
        page,
        path='/',
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=MOST_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
    )
    address, port = listening.getsockname()[:2]
    is_local = ipaddress.ip_address(address).is_loopback
    guard = Guard(app, folder, MOST_BYTES, _LOCAL | {host.lower()} if is_local else None)
    server = uvicorn.Server(
        uvicorn.Config(
            guard,
            http=PromptProtocol,
            log_level='critical',  # what goes wrong is told by the guard
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=1,
            ws='none',
        )
    )
    shown = f'[{address}]' if ':' in address else address
    print(f'http://{shown}:{port}: {", ".join(service.networks)}. Ctrl-C ends it.', flush=True)
    if not is_local:
        logger.warning('Everybody who reaches this machine can use the page.')
    server.run(sockets=[listening])
