"""A page on which anyone can try a checkpoint in a browser: `voiceface demo`.

The file also runs alone, such as copied to a Hugging Face Space as `app.py`, with `voiceface[demo]` and a checkpoint
in its requirements; the environment variable VOICEFACE_CHECKPOINT then names the checkpoint, if several are installed.
"""

import os
import signal
import socket
import sys
import tempfile
import threading
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.version import Version
from PIL import Image

from voiceface.checkpoints.find import find_checkpoint, only_checkpoint
from voiceface.data.corpus.bundles import encode_flac
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import FACE_MARGIN, face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.inference.demo_answers import CSS, KEPT, Demo, notes
from voiceface.inference.media import OTHER, Kind
from voiceface.inference.model import Model
from voiceface.utils.errors import UserError, reason

LARGEST = "20mb"  # of an uploaded file
WAITING = 20  # questions in the queue
PEOPLE = {"Person A": 12, "Person B": 13, "Person C": 14}  # numbers of the synthetic people of seed 1


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
            return gr.Audio(
                sources=["upload", "microphone"], type="filepath", label="Voice", buttons=[], elem_id=f"{where}-query"
            )
        return several(kind, "Face", where, "query")

    def several(kind: Kind, label: str, where: str, role: str = "candidates") -> Any:
        if kind == "face":
            return gr.Gallery(
                type="filepath",
                label=label,
                sources=["upload", "webcam"],
                file_types=["image"],
                columns=4,
                fit_columns=False,
                height=230,
                object_fit="contain",
                interactive=True,
                buttons=[],
                elem_id=f"{where}-{role}",
                elem_classes="vf-pictures",
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

    def tab(where: str, name: str, heading: str, asking: Kind, asked: Kind | None) -> None:
        with gr.Tab(name), gr.Row():
            with gr.Column(min_width=300):
                gr.HTML(f"<h2>{heading}</h2><p>Record or upload your own, or try a synthetic person:</p>")
                with gr.Row():
                    buttons = {name: gr.Button(f"{name}'s {asking}", size="sm", min_width=90) for name in examples}
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
                for name, files in examples.items():
                    single: Any = files[asking] if asking == "voice" else [files[asking]]
                    filled = [single] if asked is None else [single, [each[asked] for each in examples.values()]]
                    buttons[name].click(
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
            tab("v2f", "Find the face", "Which face fits this voice?", "voice", "face")
        if method.space != "relative" or "f2v" in method.directions:
            tab("f2v", "Find the voice", "Which voice fits this face?", "face", "voice")
        if demo.index is not None:
            heading = f"Which of {len(demo.index.keys):,} {demo.index.kind}s fit this {OTHER[demo.index.kind]}?"
            tab("search", "Search a gallery", heading, OTHER[demo.index.kind], None)
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
        old = Version(version("gradio")) < Version("6.31")
    except PackageNotFoundError:
        old = True
    if old or find_spec("mtcnn") is None:
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
        # Python appends the address to the reason.
        why = reason(error).partition(" (")[0] if isinstance(error, OSError) else str(error)
        raise UserError(
            f"--host {host} --port {port}: {why}; give another one, or --port 0 for any free port"
        ) from None


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

        # Fonts of the system; the text beside inputs darker than Gradio's, which is hard to read.
        theme = gr.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ).set(body_text_color_subdued="*neutral_600", block_info_text_color="*neutral_600")
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
                theme=theme,
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
            page.close(verbose=False)


if __name__ == "__main__":
    try:
        opened = Model(find_checkpoint(os.environ.get("VOICEFACE_CHECKPOINT") or only_checkpoint()))
        serve(Demo(opened), os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    except UserError as error:
        sys.exit(f"voiceface: {error}")
