"""How the page begins and ends: one message, a status, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from page_server import PageServer, encoded, photograph, picture

from fsr_plugins.cli import main
from fsr_plugins.errors import Interrupted
from fsr_plugins.restore import page as page_room
from fsr_plugins.restore.page import folder as rooms
from fsr_plugins.restore.page import server
from fsr_plugins.restore.page.worker import Worker

needs_gradio = pytest.mark.skipif(find_spec('gradio') is None, reason='needs the extra web')


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one message by which it does not begin."""
    assert main(['serve', *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith('fsr: error: ') and len(said.splitlines()) == 1
    return said


def test_without_the_extra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, 'find_spec', lambda name: None)
    said = refused(capsys)
    assert said == "fsr: error: fsr serve needs gradio, uvicorn, fastapi: pip install 'fsr_plugins[web]'.\n"


@needs_gradio
def test_a_wrong_place(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = str(other.getsockname()[1])
        assert f'--port {port}: taken by another program' in refused(capsys, '--port', port)
    assert '--port 65536: 0 to 65535 is needed' in refused(capsys, '--port', '65536')
    assert '--host 192.0.2.1: cannot be listened at' in refused(capsys, '--host', '192.0.2.1', '--port', '0')
    assert '--host no..name: no address' in refused(capsys, '--host', 'no..name')


@needs_gradio
def test_an_unknown_network(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert 'face_x5' in refused(capsys, '-c', 'face_x4', 'face_x5', '--port', '0')
    (tmp_path / 'net.pth').write_bytes(b'no network')
    assert 'net.pth' in refused(capsys, '-c', str(tmp_path / 'net.pth'), '--port', '0')


@pytest.mark.long
@needs_gradio
@pytest.mark.parametrize(('number', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_within_its_work(tmp_path: Path, number: int, status: int) -> None:
    with PageServer(tmp_path, '-c', 'face_x4_blind') as page:
        path = json.loads(page.upload(encoded(photograph(60)))[1])[0]  # it takes some seconds
        values = {'data': [picture(path), 'face_x4_blind', 1, 'photograph']}
        assert page.get('/gradio_api/call/restore', json.dumps(values).encode(), 'application/json')[0] == 200
        time.sleep(1)
        assert len(list((tmp_path / 'tmp').iterdir())) == 1
        assert page.end(number) == status, page.said()
        assert list((tmp_path / 'tmp').iterdir()) == []
        said = page.said()
        assert 'Traceback' not in said and 'terminate' not in said
        assert ('fsr: The page was ended by Ctrl-C; its files are removed.' in said) == (number == signal.SIGINT)
        assert 'error' not in said


def test_ctrl_c_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def serve(request: object) -> None:
        raise Interrupted('The page was ended by Ctrl-C; its files are removed.', signal.SIGINT)

    monkeypatch.setattr(page_room, 'serve', serve)
    assert main(['serve', '--port', '0']) == 130
    assert capsys.readouterr().err == 'fsr: The page was ended by Ctrl-C; its files are removed.\n'


def test_old_files_are_removed_and_young_ones_kept(tmp_path: Path) -> None:
    for name, age in (('old/a.png', 4000), ('half/b.png', 400), ('young/c.png', 0)):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_bytes(bytes(10))
        for place in (file, file.parent):
            os.utime(place, (time.time() - age,) * 2)
    assert rooms.used(tmp_path) == 30
    assert rooms.sweep(tmp_path) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) in (['half', 'young'], ['half', 'old', 'young'])
    assert rooms.has_room(tmp_path, rooms.QUOTA - 20) and rooms.used(tmp_path) == 20
    # The older one makes room; the young one stays, whatever is asked for.
    assert rooms.has_room(tmp_path, rooms.QUOTA - 10) and rooms.used(tmp_path) == 10
    assert not rooms.has_room(tmp_path, rooms.QUOTA) and (tmp_path / 'young/c.png').exists()


def test_work_that_never_ends_is_given_up() -> None:
    reached: list[int] = []

    def endless() -> None:
        while True:
            reached.append(1)
            time.sleep(0.01)

    import asyncio

    async def begin() -> None:
        task = worker.do(endless)
        while not reached:
            await asyncio.sleep(0.01)
        del task

    started = time.monotonic()
    with Worker() as worker:
        asyncio.run(begin())
    count = len(reached)
    time.sleep(0.1)
    assert len(reached) == count and time.monotonic() - started < 20


@pytest.mark.skipif(find_spec('gradio') is None, reason='the extra web is not installed')
def test_a_full_disk_is_a_message(tmp_path: Path) -> None:
    import asyncio

    import gradio as gr

    from fsr_plugins.restore.page.layout import build

    class Full:
        networks = {'a': None}

        def about(self, name: str) -> str:
            return name

        def restore(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    with Worker() as worker:
        page = build(Full(), worker, tmp_path)  # type: ignore[arg-type]
        (restore,) = [each.fn for each in page.fns.values() if each.api_name == 'restore']
        with pytest.raises(gr.Error, match='cannot be written here') as told:
            asyncio.run(restore(('x.png', 'x.png'), 'a', 1.0, 'auto'))
    assert str(tmp_path) not in str(told.value)
