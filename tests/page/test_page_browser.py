"""The page in a browser: Chromium, without a window. It is skipped where there is none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import cv2
import numpy as np
import pytest
from page_server import PageServer, encoded, photograph

from fsr_plugins.images import read_image
from fsr_plugins.restore import Restorer

CHROMIUM = next(
    (found for name in ('chromium', 'chromium-browser', 'google-chrome') if (found := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec('gradio') is None, reason='needs the extra web'),
    pytest.mark.skipif(find_spec('playwright') is None, reason='needs playwright'),
    pytest.mark.skipif(CHROMIUM is None, reason='needs Chromium'),
]
#: Milliseconds that a step may take.
PATIENCE = 240_000
#: What has the focus, in words.
FOCUSED = """() => {
    const e = document.activeElement;
    const label = e.closest('label');
    return [e.tagName, e.getAttribute('aria-label'), e.type, e.value, label ? label.innerText : e.innerText].join(' ');
}"""


@pytest.fixture(scope='module')
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """One page for all tests, and the picture ``party.png``."""
    with PageServer(tmp_path_factory.mktemp('browser'), '-c', 'face_x4_blind', 'face_x4') as server:
        (server.folder / 'party.png').write_bytes(encoded(photograph()))
        yield server
        assert 'Traceback' not in server.said()


class Visit:
    """A tab on the page, and what it has asked for and complained of."""

    def __init__(self, tab: Any, url: str) -> None:
        self.tab, self.hosts, self.complaints = tab, set(), []
        tab.set_default_timeout(PATIENCE)
        tab.on('console', lambda said: said.type == 'error' and self.complaints.append(said.text))
        tab.on('pageerror', lambda error: self.complaints.append(str(error)))
        tab.on('response', lambda answer: answer.status >= 400 and self.complaints.append(answer.url))
        tab.on('request', lambda request: self.hosts.add(urlparse(request.url).netloc))
        tab.goto(url)
        tab.get_by_role('button', name='Restore', exact=True).wait_for()

    def choose(self, file: Path) -> None:
        """Uploads a picture."""
        self.tab.locator('input[type=file]').first.set_input_files(str(file))
        self.tab.locator('img[src*="/file="]').first.wait_for()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=lambda size: f'{size[0]}px')
def visit(page: PageServer, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A new visitor with a desktop's or a phone's window."""
    from playwright.sync_api import sync_playwright

    width, height = request.param
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        tab = browser.new_context(viewport={'width': width, 'height': height}, accept_downloads=True).new_page()
        yield Visit(tab, page.url)
        browser.close()


def test_a_photograph_goes_in_and_the_result_comes_out(page: PageServer, visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    visit.choose(page.folder / 'party.png')
    tab.get_by_role('button', name='Restore', exact=True).click()
    tab.get_by_text('6 of 6 faces are restored').wait_for()
    with tab.expect_download() as download:
        tab.get_by_text('Download the result').click()
    assert download.value.suggested_filename == 'party_restored.png'
    download.value.save_as(tmp_path / 'result.png')
    expected = Restorer.open('face_x4_blind', precision='fp32')(photograph())
    np.testing.assert_array_equal(read_image(tmp_path / 'result.png'), expected.image)
    # Before and after are there and fill the page's width.
    tab.wait_for_function(
        '[...document.images].filter(e => e.naturalWidth == 576 && e.naturalHeight == 416).length >= 2'
    )
    width = tab.viewport_size['width']
    assert tab.evaluate('document.documentElement.scrollWidth') <= width
    tab.screenshot(path=tmp_path / 'page.png', full_page=True)
    seen = cv2.imread(str(tmp_path / 'page.png'))
    assert seen.shape[1] == width and seen.std() > 20
    assert visit.complaints == []
    assert {host for host in visit.hosts if host} == {urlparse(page.url).netloc}


def test_all_is_reached_by_the_keyboard(page: PageServer, visit: Visit) -> None:
    tab = visit.tab
    order = []
    for _ in range(20):
        tab.keyboard.press('Tab')
        order.append(tab.evaluate(FOCUSED))
        if re.search(r'BUTTON.*Restore', order[-1]):
            break
    wanted = ['upload', 'face_x4_blind', 'Strength', 'Automatic', 'Restore']
    places = [next(n for n, each in enumerate(order) if word in each) for word in wanted]
    assert places == sorted(places), order
    # The button has the focus; Enter without a picture gives the message.
    tab.keyboard.press('Enter')
    tab.get_by_text('There is no picture yet: choose one first.').first.wait_for()
    visit.choose(page.folder / 'party.png')
    tab.get_by_role('radio', name='face_x4', exact=True).focus()
    tab.keyboard.press('Space')
    tab.get_by_role('button', name='Restore', exact=True).focus()
    tab.keyboard.press('Enter')
    tab.get_by_text(re.compile('faces are restored.*by face_x4,')).wait_for()


def test_a_broken_picture_is_a_message(page: PageServer, visit: Visit) -> None:
    (page.folder / 'broken.png').write_bytes(encoded(photograph())[:200])
    visit.tab.locator('input[type=file]').first.set_input_files(str(page.folder / 'broken.png'))
    visit.tab.wait_for_timeout(2000)
    visit.tab.get_by_role('button', name='Restore', exact=True).click()
    visit.tab.get_by_text("'broken.png' cannot be decoded as an image").first.wait_for()
