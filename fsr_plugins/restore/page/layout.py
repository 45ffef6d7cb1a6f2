"""What is on the page. Imported where Gradio is known to be there."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from fsr_plugins.errors import RunError, UserError, shown
from fsr_plugins.registry import near
from fsr_plugins.restore.choosing import Mode
from fsr_plugins.restore.page.folder import has_room
from fsr_plugins.restore.page.service import Service, rows
from fsr_plugins.restore.page.worker import Worker
from fsr_plugins.stores.images import encode_png

logger = logging.getLogger(__name__)

#: Pictures that may wait.
WAITING = 16
#: Browsers whose choices are kept; those of the one that came first are forgotten.
_SESSIONS = 256
_TITLE = 'Restore small faces'
_WARNING = 'Restored detail is plausible, not real. Never identify a person from it.'
_MODES = [('Automatic', 'auto'), ('A photograph with faces', 'photograph'), ('One face', 'face')]
CSS = """
#page { max-width: 1100px; margin: 0 auto; }
#warning { border-left: 4px solid #b45309; padding: 2px 12px; }
.gradio-container { padding: 8px !important; }
:focus-visible { outline: 3px solid #1d4ed8 !important; outline-offset: 2px; }
#faces td, #faces td * { white-space: normal !important; font-family: inherit; }
@media (max-width: 640px) { #page .row > * { min-width: 100% !important; } }
"""


def _uploaded(payload: gr.data_classes.ImageData) -> tuple[str, str]:
    """Path and name of an uploaded file: nothing but this toolkit's own reader decodes it."""
    return payload.path, re.sub(r'[^\w .()-]', '_', Path(payload.orig_name or payload.path).name) or 'picture'


class _Page(gr.Blocks):
    """Refuses what the page itself would not send, before Gradio acts on it: paths of other files, addresses."""

    folder: Path
    networks: Sequence[str]

    async def preprocess_data(
        self, block_fn: object, inputs: list[object], state: object, explicit_call: bool = False
    ) -> object:
        """As Gradio does; whatever is wrong with the values is one sentence, without a traceback in the log."""
        try:
            _check(inputs, self.networks, self.folder)
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except UserError as error:
            raise _told(error) from None
        except Exception:  # of whatever kind: the values are anybody's
            raise _told('The values are not of the form that this page sends.') from None


def _told(error: object) -> gr.Error:
    return gr.Error(str(error), duration=None, print_exception=False)


def _check(inputs: Sequence[object], networks: Sequence[str], folder: Path) -> None:
    """Refuses inputs that are not a picture of this page's folder, two words and a number between them.

    Raises:
        UserError: they are not.
    """
    if len(inputs) != 4:
        raise UserError('A picture, a network, a strength and a mode are needed.')
    picture, network, strength, mode = inputs
    if not isinstance(network, str) or not isinstance(mode, str):
        raise UserError('Network and mode must be words.')
    if network not in networks:
        raise UserError(f'There is no network {shown(network)} here.{near(network, networks)}')
    if mode not in (known := [value for _, value in _MODES]):
        raise UserError(f'There is no mode {shown(mode)}: {", ".join(known)}.')
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1:
        raise UserError('The strength must be a number from 0 to 1.')
    if picture is None:
        raise UserError('There is no picture yet: choose one first.')
    path = picture.get('path') if isinstance(picture, dict) else None
    if not isinstance(picture, dict) or not isinstance(path, str) or '\0' in path or len(path) > 4096:
        raise UserError('The picture must be a file that was uploaded here.')
    if not Path(os.path.realpath(path)).is_relative_to(folder.resolve()) or not os.path.isfile(path):
        raise UserError('That picture was not uploaded here, or was removed since: upload it again.')
    # Of an address Gradio would fetch something.
    picture.pop('url', None)


def theme() -> gr.themes.Base:
    """Fonts of the system alone, and colours that can be read."""
    plain = gr.themes.Default(primary_hue='blue', font=['system-ui', 'sans-serif'], font_mono=['ui-monospace'])
    return plain.set(
        button_primary_background_fill='*primary_700',
        button_primary_background_fill_hover='*primary_800',
        block_info_text_color='*neutral_600',
        block_label_text_color='*neutral_700',
        block_title_text_color='*neutral_700',
        body_text_color_subdued='*neutral_600',
        slider_color='*primary_600',
    )


def build(service: Service, worker: Worker, folder: Path) -> gr.Blocks:
    """The page, with one function by HTTP: ``restore(picture, network, strength, mode)``.

    It gives the result as a PNG, a sentence, the table of faces, and the picture before and after.

    Args:
        worker: does the work.
        folder: where uploads and results lie.
    """

    async def restore(picture: tuple[str, str], network: str, strength: float, mode: Mode) -> tuple[object, ...]:
        try:
            return await worker.do(lambda: _made(service, folder, picture, network, float(strength), mode))
        except (UserError, RunError) as error:
            raise _told(error) from None
        except OSError as error:
            logger.warning('A result was not written: %s.', error.strerror)
            raise _told('The result cannot be written here: try again later.') from None
        except MemoryError:
            raise _told('This picture needs more memory than there is here: reduce it.') from None

    with _Page(title=_TITLE, analytics_enabled=False) as page:
        page.folder, page.networks = folder, list(service.networks)
        with gr.Column(elem_id='page'):
            gr.Markdown(f'# {_TITLE}')
            gr.Markdown(_WARNING, elem_id='warning')
            with gr.Row(elem_classes='row'):
                *given, button = _inputs(page.networks)
            found = _outputs()
            with gr.Accordion('The networks', open=False):
                gr.Markdown('\n'.join(f'- **{name}**: {service.about(name)}' for name in page.networks))
        button.click(
            restore,
            given,
            found,
            api_name='restore',
            api_description='Restores the small faces of a picture.',
            concurrency_limit=1,
            trigger_mode='once',
        )
    page.state_session_capacity = _SESSIONS
    return page.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)


def _inputs(networks: Sequence[str]) -> tuple[gr.Image, gr.Radio, gr.Slider, gr.Radio, gr.Button]:
    """Picture, network, strength, mode, and the button."""
    with gr.Column():
        picture = gr.Image(label='Picture', sources=['upload', 'webcam', 'clipboard'], type='filepath', height=300)
        # Not by a class of its own: beside the file of one Gradio would write another file.
        picture.preprocess = _uploaded
    with gr.Column():
        network = gr.Radio(networks, value=networks[0], label='Network', info='Their purposes stand at the end.')
        strength = gr.Slider(0, 1, value=1, step=0.05, label='Strength', info='How much of a restored face is seen.')
        mode = gr.Radio(_MODES, value='auto', label='The picture is', info='A small picture is taken for one face.')
        button = gr.Button('Restore', variant='primary')
    return picture, network, strength, mode, button


def _outputs() -> list[gr.components.Component]:
    """The result's file, the sentence, the table of faces, before and after."""
    said = gr.Markdown(elem_id='said')
    compared = gr.ImageSlider(label='Before and after', format='png', buttons=['fullscreen'], max_height=700)
    download = gr.DownloadButton('Download the result (PNG)')
    table = gr.Dataframe(
        headers=['size', 'score', 'what became of it'], datatype='str', type='array', wrap=True, buttons=[],
        interactive=False, label='Faces, in pixels of the picture, the surest last', row_count=0,
        column_count=3, column_widths=['28%', '20%', '52%'], elem_id='faces',
    )  # fmt: skip
    return [download, said, table, compared]


def _made(
    service: Service, folder: Path, picture: tuple[str, str], network: str, strength: float, mode: Mode
) -> tuple[object, ...]:
    """What :func:`_outputs` show of a picture, whose files it writes."""
    path, name = picture
    answer = service.restore(Path(path), name, network, strength, mode)
    if not has_room(folder, len(answer.png) + answer.before.nbytes + answer.after.nbytes):
        raise RunError('There is no room for the result now: try again in some minutes.')
    with contextlib.suppress(FileNotFoundError):
        # The folder is new, so the name may be the one that the user sees when it is downloaded.
        place = Path(tempfile.mkdtemp(dir=folder))
        # In bytes no longer than names may be.
        file = place / f'{Path(name).stem[:60]}_restored.png'
        file.write_bytes(answer.png)
        pair = place / 'before.png', place / 'after.png'
        for shown_file, image in zip(pair, (answer.before, answer.after), strict=True):
            shown_file.write_bytes(encode_png(image))
        return str(file), answer.text, rows(answer.faces), tuple(map(str, pair))
    raise RunError('The page is about to end.')
