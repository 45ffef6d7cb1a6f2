"""The page by HTTP: what it makes of pictures, and what it makes of everything else. Without a browser."""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlparse

import numpy as np
import psutil
import pytest
from page_server import PageServer, encoded, photograph, picture
from PIL import Image

from fsr_plugins.images import read_image
from fsr_plugins.restore import Photographs, Restorer
from fsr_plugins.restore.page.service import MOST_BYTES

sys.path.append(str(Path(__file__).parents[1] / 'campaigns'))
import image_faults

pytestmark = pytest.mark.skipif(find_spec('gradio') is None, reason='needs the extra web')


@pytest.fixture(scope='module')
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """One page for all tests: none of them may bring it down."""
    with PageServer(tmp_path_factory.mktemp('page'), '-c', 'face_x4_blind', 'face_x4') as server:
        yield server
        assert server.process.poll() is None
        assert 'Traceback' not in server.said()
        # The last one says how the network is run fastest here.
        assert [file for file in server.left() if not file.startswith('home/cache/fsr_plugins/')] == []


@pytest.mark.parametrize('choices', [('face_x4_blind', 1, 'auto'), ('face_x4', 0.4, 'photograph')])
def test_a_photograph_becomes_what_the_restorer_makes_of_it(page: PageServer, choices: tuple[str, float, str]) -> None:
    image = photograph()
    event, data = page.restored(encoded(image), 'party.png', *choices)
    assert event == 'complete', data
    network, strength, mode = choices
    expected = Restorer.open(network, mode=mode, photographs=Photographs(strength=strength), precision='fp32')(image)  # type: ignore[arg-type]
    assert len(expected.faces) >= 5 and any(face.restored for face in expected.faces)
    np.testing.assert_array_equal(page.result(data), expected.image)
    assert data[0]['path'].endswith('/party_restored.png')
    table = data[2]['data']
    assert len(table) == len(expected.faces)
    assert [line[1] for line in table] == [f'{face.score:.2f}' for face in expected.faces]
    assert [line[2].startswith('restored') for line in table] == [face.restored for face in expected.faces]
    before, after = (page.get(each['url'].removeprefix(page.url)) for each in data[3])
    assert before[0] == after[0] == 200 and before[1] != after[1]


def test_gradios_client_takes_the_same_way(page: PageServer, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file

    (tmp_path / 'party.png').write_bytes(encoded(photograph()))
    client = Client(page.url, download_files=str(tmp_path / 'got'), verbose=False)
    found = client.predict(handle_file(tmp_path / 'party.png'), api_name='/restore')
    expected = Restorer.open('face_x4_blind', precision='fp32')(tmp_path / 'party.png')
    assert Path(found[0]).name == 'party_restored.png'
    np.testing.assert_array_equal(read_image(found[0]), np.asarray(expected.image))


@pytest.mark.skipif(shutil.which('curl') is None, reason='needs curl')
def test_curl_is_used_as_shown(page: PageServer, tmp_path: Path) -> None:
    (tmp_path / 'party.jpg').write_bytes(encoded(photograph(), '.jpg'))
    text = (Path(__file__).parents[2] / 'docs/page.md').read_text()
    lines = next(part for part in text.split('\n\n') if 'curl' in part and part.startswith('    '))
    command = textwrap.dedent(lines).replace('http://127.0.0.1:7860', page.url)
    done = subprocess.run(['sh', '-ec', command], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    expected = Restorer.open('face_x4_blind', precision='fp32')(tmp_path / 'party.jpg')
    np.testing.assert_array_equal(read_image(tmp_path / 'restored.png'), np.asarray(expected.image))


def test_alpha_comes_back(page: PageServer) -> None:
    alpha = np.full((32, 32), 255, np.uint8)
    alpha[:16] = 0
    image = np.dstack([photograph()[:32, :32], alpha])
    Image.fromarray(image).save(page.folder / 'alpha.png')
    _, data = page.restored((page.folder / 'alpha.png').read_bytes(), 'alpha.png')
    status, body = page.get(data[0]['url'].removeprefix(page.url))
    (page.folder / 'result.png').write_bytes(body)
    result = np.asarray(Image.open(page.folder / 'result.png'))
    assert status == 200 and result.shape == (128, 128, 4)
    assert result[:40, :, 3].max() < 30 and result[90:, :, 3].min() > 225


@pytest.mark.parametrize('seed', range(50))
def test_a_broken_picture_is_a_message(page: PageServer, seed: int) -> None:
    rng = random.Random(seed)
    if seed % 5 == 4:
        name, data = image_faults.lying_header(rng)
    else:
        kind = rng.choice(['PNG', 'JPEG', 'BMP', 'WEBP', 'TIFF', 'PPM', 'GIF'])
        damage = rng.choice([image_faults.cut, image_faults.beginning, image_faults.zeroed])
        name, data = f'a.{kind.lower()}', damage(image_faults.encoded(image_faults.picture(rng), kind), rng)
    event, found = page.restored(data, name)
    # Some kinds show what they still have.
    if event == 'error':
        assert isinstance(found['error'], str) and re.fullmatch(r'[^\n]+[.\n]', found['error']), found
        assert 'Traceback' not in found['error']
    else:
        assert page.result(found).size
    assert page.get('/')[0] == 200


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        (('no', 1, 'auto'), 'no is not in the list of choices'),
        (('face_x4_blnd', 1, 'auto'), "Did you mean 'face_x4_blind'"),
        (('face_x4_blind', 1.5, 'auto'), 'from 0 to 1'),
        (('face_x4_blind', -1, 'auto'), 'from 0 to 1'),
        (('face_x4_blind', '1', 'auto'), 'must be a number'),
        (('face_x4_blind', True, 'auto'), 'must be a number'),
        (('face_x4_blind', 1, 'both'), "There is no mode 'both': auto, photograph, face"),
        ((['face_x4_blind'], 1, 'auto'), 'must be words'),
    ],
)
def test_a_wrong_choice_is_a_message(page: PageServer, values: tuple[object, ...], said: str) -> None:
    event, data = page.restored(encoded(photograph()), 'a.png', *values)
    assert event == 'error' and re.search(said, data['error']), data


def test_no_other_file_and_no_address_is_taken_for_a_picture(page: PageServer) -> None:
    (page.folder / 'mine.png').write_bytes(encoded(photograph()))
    (page.folder / 'tmp/mine.png').write_bytes(encoded(photograph()))
    with socket.create_server(('127.0.0.1', 0)) as other:
        other.settimeout(0.5)
        address = f'http://127.0.0.1:{other.getsockname()[1]}/a.png'
        others = [str(page.folder / place) for place in ('mine.png', 'tmp/mine.png')]
        wrong = [*others, '/etc/passwd', '../mine.png', address, 'a\0b', '', 7, None]
        for path in wrong:
            event, data = page.call(picture(path), 'face_x4_blind', 1, 'auto')  # type: ignore[arg-type]
            assert event == 'error' and 'uploaded here' in data['error'], (path, data)
        for place in ('url', 'path'):
            event, data = page.call({**picture('x'), place: address}, 'face_x4_blind', 1, 'auto')
            assert event == 'error'
            # In a choice as well nothing is fetched.
            event, data = page.call(None, {**picture('x'), place: address}, 1, 'auto')
            assert event == 'error'
        with pytest.raises(TimeoutError):
            other.accept()
    (page.folder / 'tmp/mine.png').unlink()


def test_no_file_of_the_machine_is_given_out(page: PageServer) -> None:
    (page.folder / 'cwd/secret.txt').write_text('secret')
    (page.folder / 'tmp/secret.txt').write_text('secret')
    inside = next((page.folder / 'tmp').glob('fsr_serve_*'))
    (inside / 'link').symlink_to('/etc')
    places = ['/etc/passwd', '//etc/passwd', 'secret.txt', './secret.txt', '../log', f'{page.folder}/tmp/secret.txt',
              f'{inside}/../secret.txt', f'{inside}/link/passwd', f'{inside}', 'file:///etc/passwd',
              'http://127.0.0.1:1/', '/proc/self/environ', '/dev/zero', '\0', 'x' * 5000]  # fmt: skip
    for place in places:
        for path in (quote(place), quote(place, safe=''), quote(quote(place, safe=''))):
            for route in ('/gradio_api/file=', '/file=', '/gradio_api/file/', '/static/', '/assets/',
                          '/gradio_api/proxy=', '/gradio_api/custom_component/x/server/y/', '/svelte/'):  # fmt: skip
                status, body = page.get(route + path)
                assert status in (400, 403, 404), (route, place, status)
                assert b'root:' not in body and b'secret' not in body.replace(b'secret.txt', b'')
    for file in ('cwd/secret.txt', 'tmp/secret.txt'):
        (page.folder / file).unlink()


@pytest.mark.parametrize(
    'path',
    ['/gradio_api/runs', '/gradio_api/run/restore', '/gradio_api/api/restore', '/monitoring', '/docs', '/openapi.json',
     '/gradio_api/process_recording', '/gradio_api/vibe-edit', '/gradio_api/deep_link', '/login', '/gradio_api/mcp'],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(page: PageServer, path: str) -> None:
    assert page.get(path)[0] == 404 and page.get(path, b'{}')[0] == 404


def test_an_upload_has_bounds(page: PageServer) -> None:
    wide = image_faults.png(6000, 6000, 1, 0, image_faults.zlib.compress(bytes(6000 * 751)))
    event, data = page.restored(wide, 'wide.png')
    assert event == 'error' and data['error'].startswith("'wide.png' has 6000×6000 pixels, more than the 25 million")
    place = urlparse(page.url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as line:
        line.sendall(
            b'POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n'
            b'Content-Type: multipart/form-data; boundary=x\r\n'
            b'Content-Length: %d\r\n\r\n' % (MOST_BYTES + (1 << 17))
        )
        assert b' 413 ' in line.recv(200)
    # What does not say its length is counted.
    with socket.create_connection((place.hostname, place.port), timeout=60) as line:
        line.sendall(
            b'POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
            b'Transfer-Encoding: chunked\r\n\r\n'
        )
        try:
            for _ in range(40):
                line.sendall(b'10000\r\n' + b' ' * 0x10000 + b'\r\n')
        except OSError:
            pass
        else:
            assert b' 413 ' in line.recv(200)


def test_only_this_machines_own_names_are_answered(page: PageServer) -> None:
    assert page.get('/', Host='somebody.example')[0] == 421
    assert page.get('/', Host='localhost:80')[0] == 200


def test_nothing_on_the_page_lies_elsewhere(page: PageServer) -> None:
    status, body = page.get('/')
    assert status == 200
    html = body.decode()
    assert 'Restored detail is plausible, not real. Never identify a person from it.' in html
    assert re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)=["\']?(?:https?:)?//[^"\' >]+', html) == []
    assert 'fonts.googleapis' not in html and '"analytics_enabled":false' in html.replace(' ', '')
    css = page.get('/theme.css')[1].decode()
    assert re.findall(r'url\(["\']?(?:https?:)?//', css) == [] and '@import' not in css


def test_ten_at_once_are_all_answered(page: PageServer) -> None:
    data = encoded(photograph(6))  # 12 faces
    _, first = page.restored(data, 'many.png')
    expected = page.result(first)
    process = psutil.Process(page.process.pid)
    before = process.memory_info().rss
    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda number: page.restored(data, f'{number}.png'), range(10)))
    assert [event for event, _ in done] == ['complete'] * 10
    for _, found in done:
        np.testing.assert_array_equal(page.result(found), expected)
    assert process.memory_info().rss - before < 400 << 20


# ---- requests of anything --------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize('number', [200, pytest.param(2000, marks=pytest.mark.long)])
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
