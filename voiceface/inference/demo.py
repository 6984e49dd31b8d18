"""A page on which anyone can try a checkpoint in a browser: `voiceface demo`.

The file also runs alone, such as copied to a Hugging Face Space as `app.py`, with `voiceface[demo]` and a checkpoint
in its requirements; the environment variable VOICEFACE_CHECKPOINT then names the checkpoint, if several are installed.
"""

import base64
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from voiceface.checkpoints.card import SYNTHETIC
from voiceface.checkpoints.find import find_checkpoint, only_checkpoint
from voiceface.data.corpus.bundles import encode_flac, encode_jpeg
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import FACE_MARGIN, face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.inference.gallery import Index
from voiceface.inference.media import OTHER, FaceReading, Kind, read_many_faces, read_one_voice
from voiceface.inference.model import Model
from voiceface.methods.base import Direction
from voiceface.utils.errors import UserError, reason

MOST = 10  # candidates of one match, and results of one search
LONGEST = 60.0  # seconds of a voice
LARGEST = "20mb"  # of an uploaded file
KEPT = 600  # seconds after which an uploaded file is deleted
WAITING = 20  # questions in the queue
PEOPLE = {"Person A": 12, "Person B": 13, "Person C": 14}  # numbers of the synthetic people of seed 1

USE = (
    "This page is for research and teaching. Never use it to identify or screen people. It always names a best match, "
    "even if the right one is not among the candidates. "
)
PRIVATE = f"Files that you upload are deleted after {KEPT // 60} minutes and are used for nothing else."
UNREAL = (
    "<b>This model was trained on synthetic people: drawn faces and generated voices.</b> What it says about "
    "photographs and recordings of real people means nothing."
)
CSS = """
.vf-note { border-left: 4px solid var(--primary-500); padding: 2px 12px; color: var(--body-text-color); }
.vf-note.vf-warn { border-color: #d97706; background: var(--background-fill-secondary); padding: 10px 12px; }
.vf-empty { color: var(--body-text-color-subdued); padding: 24px 0; }
.vf-ranked { list-style: none; margin: 12px 0; padding: 0; }
.vf-ranked li, .vf-query { display: flex; gap: 14px; align-items: center; flex-wrap: wrap; padding: 10px; margin: 6px 0;
  border: 1px solid var(--border-color-primary); border-radius: 8px; }
.vf-ranked li.vf-best { border: 2px solid var(--primary-500); background: var(--primary-50); }
.dark .vf-ranked li.vf-best { background: var(--background-fill-secondary); }
.vf-ranked img, .vf-query img { width: 84px; height: 84px; border-radius: 6px; object-fit: cover; }
.vf-ranked audio, .vf-query audio { width: 240px; height: 40px; max-width: 100%; }
.vf-ranked p, .vf-query p { margin: 0; overflow-wrap: anywhere; }
.vf-rank { font-size: 1.3em; min-width: 1.4em; text-align: center; color: var(--body-text-color-subdued); }
.vf-left-out { border-left: 4px solid #d97706; padding-left: 12px; margin: 8px 0; }
"""


class Clip(NamedTuple):
    """A voice or face that was read.

    Attributes:
        name: Its file's name without ending.
        content: What the network is given: samples, int16 (T,) at 16 kHz; or a face, uint8 (size, size, 3).
        embedding: float32 (D,).
    """

    name: str
    content: NDArray[Any]
    embedding: Tensor


class Demo:
    """Answers of the page as HTML, without Gradio. Users' mistakes become sentences in it.

    Args:
        model: The model.
        index: Gallery to search; None: there is none.
        files: Folder whose files were indexed, to show what is found; None: only names are shown.
    """

    def __init__(self, model: Model, index: Index | None = None, files: Path | None = None) -> None:
        self.model, self.index, self.files = model, index, files

    def read(self, kind: Kind, paths: Sequence[str], detect: bool) -> tuple[list[Clip], list[str]]:
        """Read and embed files.

        Args:
            kind: Kind of the files.
            paths: The files.
            detect: Find the largest face in each picture; False: each picture is a face crop already.

        Returns:
            The usable clips in order, and a sentence about each other file.
        """
        read: list[NDArray[Any] | Rejected] = []
        if kind == "face":
            encoder = self.model.method.face_encoder
            reading = FaceReading(encoder.size, encoder.margin, detect, device=str(self.model.device))
            read = [*read_many_faces([Path(path) for path in paths], reading)]
        else:
            for path in paths:
                try:
                    read.append(read_one_voice(path, LONGEST))
                except Rejected as rejected:
                    read.append(rejected)
        names = [Path(path).stem for path in paths]
        problems = [
            f"{escape(Path(path).name)} was left out: {escape(one.reason)}."
            for path, one in zip(paths, read, strict=True)
            if isinstance(one, Rejected)
        ]
        good = [(name, one) for name, one in zip(names, read, strict=True) if not isinstance(one, Rejected)]
        rows = self.model.embed_each(kind, [content for _, content in good], detect=False)
        clips = [Clip(*one, row) for one, row in zip(good, rows, strict=True) if not isinstance(row, Rejected)]
        return clips, problems

    def match(self, query: Sequence[str], candidates: Sequence[str], direction: Direction, detect: bool) -> str:
        """Rank candidates by how well they fit a query.

        Args:
            query: File of one voice; of one face for f2v.
            candidates: Files of faces; of voices for f2v. Those after the tenth are not used.
            direction: v2f or f2v.
            detect: See `read`.

        Returns:
            HTML.
        """
        asking: Kind = "voice" if direction == "v2f" else "face"
        asked = OTHER[asking]
        if len(query) != 1 or not candidates:
            return _told([f"Give one {asking}, and two to ten {asked}s."])
        asked_for, problems = self.read(asking, query, detect)
        clips, left_out = self.read(asked, candidates[:MOST], detect)
        problems += left_out
        if len(candidates) > MOST:
            problems.append(f"Only the first {MOST} of {len(candidates)} {asked}s were compared.")
        if not asked_for or not clips:
            return _told([*problems, f"There is no usable {asked if asked_for else asking}, so nothing was compared."])
        try:
            ranked = self.model.rank(asked_for[0].embedding, torch.stack([clip.embedding for clip in clips]), direction)
        except UserError as error:
            return _told([*problems, escape(str(error).removeprefix(f"{self.model.folder}: "))])
        rows = [_row(clips[m.place].content, clips[m.place].name, m.similarity, m.probability) for m in ranked]
        if len(clips) == 2 and ranked[0].probability is None:
            problems.append("There are no probabilities, because this checkpoint is not calibrated.")
        elif len(clips) != 2 and self.model.config.get("calibration"):
            problems.append(f"Probabilities are shown for two {asked}s only: the checkpoint is calibrated for these.")
        return _answer(asked_for[0], f"{asked}s, the best match first", rows, problems)

    def search(self, query: Sequence[str], detect: bool) -> str:
        """Find the ten items of the gallery that are most similar to a query, as HTML.

        Args:
            query: File of one voice, if the gallery holds faces; of one face, if it holds voices.
            detect: See `read`.
        """
        assert self.index is not None
        asking = OTHER[self.index.kind]
        if len(query) != 1:
            return _told([f"Give one {asking}."])
        clips, problems = self.read(asking, query, detect)
        if not clips:
            return _told(problems)
        places, scores = self.index.search(clips[0].embedding[None], MOST)
        rows = [
            _row(self._indexed(self.index.keys[place]), self.index.keys[place], score)
            for place, score in zip(places[0].tolist(), scores[0].tolist(), strict=True)
        ]
        return _answer(clips[0], f"{self.index.kind}s of the gallery, the most similar first", rows, problems)

    def _indexed(self, key: str) -> NDArray[Any] | None:
        """Read a file of the gallery to show it; None: it is not at hand."""
        if self.files is None or self.index is None:
            return None
        path = self.files / key
        if not path.resolve().is_relative_to(self.files.resolve()):  # an index of unknown origin may name any file
            return None
        try:
            if self.index.kind == "voice":
                return read_one_voice(path, LONGEST)
            with Image.open(path) as picture:
                picture.thumbnail((168, 168))
                return np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError, Rejected):
            return None


def _shown(content: NDArray[Any], name: str) -> str:
    """Show a voice as a player, a face as a picture; the page holds the content itself, so no file is kept for it."""
    face = content.ndim == 3
    data = base64.b64encode(encode_jpeg(content) if face else encode_flac(content)).decode()
    label = escape(name, quote=True)
    if face:
        return f'<img src="data:image/jpeg;base64,{data}" alt="{label}">'
    return f'<audio controls preload="metadata" src="data:audio/flac;base64,{data}" aria-label="{label}"></audio>'


def _row(content: NDArray[Any] | None, name: str, similarity: float, probability: float | None = None) -> str:
    told = f"similarity {similarity:.3f}"
    if probability is not None:
        told += f" · probability {100 * probability:.0f} %"
    return f"{'' if content is None else _shown(content, name)}<p><b>{escape(name)}</b><br>{told}</p>"


def _told(sentences: Iterable[str]) -> str:
    return "".join(f'<p class="vf-left-out">{sentence}</p>' for sentence in sentences)


def _answer(query: Clip, heading: str, rows: Sequence[str], problems: Sequence[str]) -> str:
    """Lay out an answer: the query, the ranking, and what was left out."""
    ranked = "".join(
        f'<li{" class=vf-best" if number == 1 else ""}><span class="vf-rank">{number}</span>{row}</li>'
        for number, row in enumerate(rows, 1)
    )
    asked = f'<div class="vf-query">{_shown(query.content, query.name)}<p>You asked for: <b>{escape(query.name)}</b></p></div>'
    return f'{asked}<h3>{heading[0].upper()}{heading[1:]}</h3><ol class="vf-ranked">{ranked}</ol>{_told(problems)}'


def notes(model: Model) -> str:
    """Say on the page what the model must not be used for, as HTML."""
    corpus = escape(str(model.config["data"].get("corpus") or "that it was calibrated on"))
    told = USE
    if model.config.get("calibration"):
        told += f"A probability holds for people like those of the corpus {corpus}, and for nobody else. "
    synthetic = model.config["data"].get("corpus") == SYNTHETIC
    warning = f'<p class="vf-note vf-warn">{UNREAL}</p>' if synthetic else ""
    return f'{warning}<p class="vf-note">{told}{PRIVATE}</p>'


def write_examples(folder: Path, margin: float) -> dict[str, dict[Kind, str]]:
    """Render the voice and the face of three synthetic people.

    Args:
        folder: Existing folder for the files.
        margin: Times the face box that the pictures show, as far as they can: the face network's own.

    Returns:
        The two files of each person.
    """
    examples: dict[str, dict[Kind, str]] = {}
    for name, number in PEOPLE.items():
        who = person(SyntheticOptions(seed=1), number)
        face = Image.fromarray(face_clip(who, 0)[0])
        edge = round(face.width * (1 - min(1.0, margin / FACE_MARGIN)) / 2)
        face.crop((edge, edge, face.width - edge, face.height - edge)).save(folder / f"{name}.png")
        (folder / f"{name}.flac").write_bytes(encode_flac(voice_clip(who, 0)[0]))
        examples[name] = {"voice": str(folder / f"{name}.flac"), "face": str(folder / f"{name}.png")}
    return examples


def build_page(demo: Demo, examples: dict[str, dict[Kind, str]]) -> Any:
    """Build the page.

    Args:
        demo: What answers.
        examples: From `write_examples`.

    Returns:
        A `gradio.Blocks`, not served yet.
    """
    import gradio as gr

    method = demo.model.method
    title = f"voiceface: {demo.model.config['name'] or demo.model.folder.name}"

    def one(kind: Kind, where: str) -> Any:
        if kind == "voice":
            return gr.Audio(sources=["upload", "microphone"], type="filepath", label="Voice", elem_id=f"{where}-query")
        return several(kind, "Face", where, "query")

    def several(kind: Kind, label: str, where: str, role: str = "candidates") -> Any:
        if kind == "face":
            return gr.Gallery(
                type="filepath",
                label=label,
                sources=["upload", "webcam"],
                file_types=["image"],
                columns=4,
                height=200,
                object_fit="contain",
                interactive=True,
                buttons=[],
                elem_id=f"{where}-{role}",
            )
        files = gr.File(
            file_count="multiple", file_types=["audio", "video"], label=label, height=160, elem_id=f"{where}-{role}"
        )
        recorder = gr.Audio(sources=["microphone"], type="filepath", label="Record one more voice")
        recorder.stop_recording(
            lambda new, old: ([*(old or []), *([new] if new else [])], None),
            [recorder, files],
            [files, recorder],
            api_visibility="private",
        )
        return files

    def tab(where: str, heading: str, asking: Kind, asked: Kind | None) -> None:
        with gr.Tab(heading), gr.Row():
            with gr.Column(min_width=300):
                query = one(asking, where)
                inputs = [query] if asked is None else [query, several(asked, f"Two to ten {asked}s", where)]
                detect = gr.Checkbox(
                    True,
                    label="Find the face in each picture",
                    info="Untick it if each picture shows just a face, as the examples do.",
                    elem_id=f"{where}-detect",
                    visible="face" in (asking, asked),
                )
                go = gr.Button("Compare" if asked else "Search", variant="primary", elem_id=f"{where}-go")
                gr.HTML("<p>Or try a synthetic person:</p>")
                with gr.Row():
                    for name, files in examples.items():
                        single: Any = files[asking] if asking == "voice" else [files[asking]]
                        filled = [single] if asked is None else [single, [each[asked] for each in examples.values()]]
                        gr.Button(f"{name}'s {asking}", size="sm", min_width=90).click(
                            lambda filled=filled: [*filled, False], None, [*inputs, detect], api_visibility="private"
                        )
            with gr.Column(min_width=300):
                out = gr.HTML('<p class="vf-empty">The answer appears here.</p>', elem_id=f"{where}-answer")

        def answer(*given: Any) -> str:
            *files, find = given
            paths = [_paths(one) for one in files]
            if asked is None:
                return demo.search(paths[0], find)
            return demo.match(paths[0], paths[1], "v2f" if asking == "voice" else "f2v", find)

        go.click(answer, [*inputs, detect], out, concurrency_id="model", api_visibility="private")

    page = gr.Blocks(title=title, analytics_enabled=False, delete_cache=(60, KEPT))
    with page:
        gr.HTML(f"<h1>{escape(title)}</h1>{notes(demo.model)}")
        if method.space != "relative" or "v2f" in method.directions:
            tab("v2f", "Which face fits this voice?", "voice", "face")
        if method.space != "relative" or "f2v" in method.directions:
            tab("f2v", "Which voice fits this face?", "face", "voice")
        if demo.index is not None:
            tab("search", f"Search {len(demo.index.keys):,} {demo.index.kind}s", OTHER[demo.index.kind], None)
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def _paths(given: Any) -> list[str]:
    """List the files of a component of the page: none, one, or several, in pairs with captions or not."""
    if given is None or isinstance(given, str):
        return [given] if given else []
    return [str(one[0] if isinstance(one, tuple) else one) for one in given]


def check_extra() -> None:
    """Check that the libraries of the page are installed.

    Raises:
        UserError: One is missing or too old.
    """
    try:
        found = int(version("gradio").partition(".")[0])
    except PackageNotFoundError:
        found = 0
    if found < 6 or find_spec("mtcnn") is None:
        raise UserError("the page needs the extra `demo`: pip install 'voiceface[demo]'")


def free_port(host: str, port: int) -> int:
    """Check that a port can be listened on; 0: find a free one.

    Raises:
        UserError: It is in use, or the host is not of this machine.
    """
    try:
        with socket.create_server((host, port)) as server:
            return int(server.getsockname()[1])
    except (OSError, OverflowError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"--host {host} --port {port}: {why}; give another one, or --port 0 for any free port") from None


def serve(demo: Demo, host: str = "127.0.0.1", port: int = 7860, browser: bool = False) -> None:
    """Serve the page until the process is interrupted, and delete what was uploaded.

    Args:
        demo: What answers.
        host: Address to listen on; the default can be reached from this machine only.
        port: Port; 0: any free one.
        browser: Open the page in the browser of this machine.

    Raises:
        UserError: Gradio is missing, or the port cannot be listened on.
    """
    check_extra()
    port = free_port(host, port)
    with tempfile.TemporaryDirectory(prefix="voiceface-demo-") as folder:
        # Gradio reads them when it is imported, or when components are made.
        os.environ |= {"GRADIO_TEMP_DIR": f"{folder}/uploads", "GRADIO_ANALYTICS_ENABLED": "False"}
        import gradio as gr

        fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # those of the system
        page = build_page(demo, write_examples(Path(folder), demo.model.method.face_encoder.margin))
        try:
            page.launch(
                server_name=host,
                server_port=port,
                inbrowser=browser,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=LARGEST,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                theme=gr.themes.Default(primary_hue="blue", **fonts),
                css=CSS,
            )
            print(f"{page.local_url}  (Ctrl-C ends it)", flush=True)
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.default_int_handler)
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            page.close()


if __name__ == "__main__":
    try:
        opened = Model(find_checkpoint(os.environ.get("VOICEFACE_CHECKPOINT") or only_checkpoint()))
        serve(Demo(opened), os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    except UserError as error:
        sys.exit(f"voiceface: {error}")
