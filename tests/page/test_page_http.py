"""The page by HTTP: what it makes of pictures, and what it makes of everything else. Without a browser."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
import sys
import textwrap
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
        (('no', 1, 'auto'), "There is no network 'no' here"),
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


@pytest.mark.parametrize(
    'name', ['../../x.png', 'a\0b.png', '\ud800.png', '語' * 200 + '.png', '<b>x</b>.png', '..', '']
)
def test_a_picture_may_have_any_name(page: PageServer, name: str) -> None:
    path = json.loads(page.upload(encoded(photograph()[:32, :32]))[1])[0]
    event, data = page.call(picture(path, name), 'face_x4_blind', 1, 'face')
    assert event == 'complete', data
    assert page.result(data).shape == (128, 128, 3)
    assert data[0]['path'].endswith('_restored.png') and not set(data[0]['orig_name']) & set('/<>\0\ud800')


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


@pytest.mark.parametrize('site', ['cross-site', 'same-site'])
def test_what_another_page_asks_for_is_refused_but_for_a_link(page: PageServer, site: str) -> None:
    head = b'--mark\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    form = head + encoded(photograph()) + b'\r\n--mark--\r\n', 'multipart/form-data; boundary=mark'
    for mode in ('no-cors', 'navigate'):  # a script's, and a form's
        status, body = page.get('/gradio_api/upload', *form, **{'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': mode})
        assert status == 403 and b'open the page itself' in body
    assert page.get('/config', **{'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': 'cors'})[0] == 403
    assert page.get('/', **{'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': 'navigate'})[0] == 200
    own = {'Sec-Fetch-Site': 'same-origin', 'Sec-Fetch-Mode': 'cors'}
    assert page.get('/gradio_api/upload', *form, **own)[0] == 200


def test_nothing_on_the_page_lies_elsewhere(page: PageServer) -> None:
    status, body = page.get('/')
    assert status == 200
    html = body.decode()
    assert 'Restored detail is plausible, not real. Never identify a person from it.' in html
    assert re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)=["\']?(?:https?:)?//[^"\' >]+', html) == []
    assert 'fonts.googleapis' not in html and '"analytics_enabled":false' in html.replace(' ', '')
    css = page.get('/theme.css')[1].decode()
    assert re.findall(r'url\(["\']?(?:https?:)?//', css) == [] and '@import' not in css


@pytest.mark.long
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
