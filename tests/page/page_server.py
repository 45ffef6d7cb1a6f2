"""A page served by a process of its own, which can write into one folder alone; and how programs talk to it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from fsr_plugins.portraits import render

#: Full precision: results are compared with those of this process.
CODE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import fsr_plugins.restore.forward as forward
forward.computes_bf16 = lambda device: False
from fsr_plugins.cli import main
sys.exit(main(['serve', *sys.argv[1:]]))
"""


def photograph(columns: int = 3, side: int = 40) -> np.ndarray:
    """Built-in faces of twice as many people on a plain ground, uint8 (H, W, 3)."""
    faces = [face.image for face in render('studio', 'test', range(0, 20 * columns, 10), side, seed=0)]
    rows = [np.hstack(faces[row * columns : (row + 1) * columns]) for row in range(2)]
    return cv2.copyMakeBorder(np.vstack(rows), 12, 12, 12, 12, cv2.BORDER_CONSTANT, value=(128, 128, 128))


class PageServer:
    """``fsr serve`` with these arguments; leaving its context ends it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder, self.log = folder, folder / 'log'
        for name in ('tmp', 'home', 'cwd'):
            (folder / name).mkdir(parents=True)
        environment = os.environ | {
            'TMPDIR': str(folder / 'tmp'),
            'HOME': str(folder / 'home'),
            'XDG_CACHE_HOME': str(folder / 'home/cache'),
        }
        environment.pop('GRADIO_TEMP_DIR', None)
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-W', 'ignore', '-c', CODE, '--port', '0', *arguments],
                cwd=folder / 'cwd', env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            self.url = self._url()
        except BaseException:
            self.process.kill()
            raise

    def _url(self) -> str:
        end = time.monotonic() + 600
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.said().splitlines():
                if line.startswith('http://'):
                    return line.split(': ')[0]
            time.sleep(0.2)
        raise AssertionError(f'the page did not begin: {self.said()}')

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)

    def end(self, number: int) -> int:
        """The status that it ends with after a signal."""
        self.process.send_signal(number)
        try:
            return self.process.wait(120)
        finally:
            self.process.kill()

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors='replace')

    def left(self) -> list[str]:
        """What lies where it may write, but in the folder of the page itself."""
        places = (self.folder / name for name in ('tmp', 'home', 'cwd'))
        files = [file.relative_to(self.folder) for place in places for file in place.rglob('*') if file.is_file()]
        return sorted(str(file) for file in files if not file.parts[1].startswith('fsr_serve_'))

    def get(self, path: str, data: bytes | None = None, kind: str = '', **headers: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        if kind:
            headers['Content-Type'] = kind
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def upload(self, data: bytes, name: str = 'picture.png') -> tuple[int, bytes]:
        """Status and body; a path in a JSON list where it was taken."""
        head = f'--mark\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        return self.get('/gradio_api/upload', head + data + b'\r\n--mark--\r\n', 'multipart/form-data; boundary=mark')

    def call(self, *values: Any) -> tuple[str, Any]:
        """The event by which the function ends, ``complete`` or ``error``, and its data."""
        status, body = self.get('/gradio_api/call/restore', json.dumps({'data': values}).encode(), 'application/json')
        assert status == 200, (status, body)
        status, body = self.get(f'/gradio_api/call/restore/{json.loads(body)["event_id"]}')
        event, data = body.decode().strip().rsplit('event: ', 1)[1].split('\ndata: ')
        return event, json.loads(data)

    def restored(self, data: bytes, name: str, *choices: Any) -> tuple[str, Any]:
        """As :meth:`call` with a picture that is uploaded first; an upload that is refused is an ``error``."""
        status, body = self.upload(data, name)
        if status != 200:
            return 'error', {'error': body.decode()}
        return self.call(picture(json.loads(body)[0], name), *(choices or ('face_x4_blind', 1, 'auto')))

    def result(self, data: Any) -> np.ndarray:
        """The first value of a call's data, uint8 (H, W, 3)."""
        status, body = self.get(data[0]['url'].removeprefix(self.url))
        assert status == 200 and body[:4] == b'\x89PNG'
        return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)


def picture(path: str, name: str = 'picture.png') -> dict[str, Any]:
    """An uploaded file as a value of a call."""
    return {'path': path, 'orig_name': name, 'meta': {'_type': 'gradio.FileData'}}


def encoded(image: np.ndarray, kind: str = '.png') -> bytes:
    """The bytes of an image's file."""
    return io.BytesIO(cv2.imencode(kind, image[..., ::-1])[1].tobytes()).getvalue()
