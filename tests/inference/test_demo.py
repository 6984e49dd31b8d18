"""The demo: what it answers, and the page in a real browser with real clicks and files."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_support import make, rendered, wave, write_face, write_voice
from PIL import Image
from tests_support import ENVIRONMENT, ROOT

import voiceface.checkpoints.find as checkpoints
from voiceface.checkpoints.find import only_checkpoint
from voiceface.cli import main
from voiceface.data.corpus.bundles import encode_flac
from voiceface.inference import demo as page
from voiceface.inference.demo import check_extra, free_port, write_examples
from voiceface.inference.demo_answers import LONGEST, Demo, notes
from voiceface.inference.gallery import build_index
from voiceface.inference.media import files_below
from voiceface.inference.model import Model
from voiceface.utils.errors import UserError

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DATA = os.environ.get("VOICEFACE_TEST_DATA", "")
CHECKPOINT = ROOT / "zoo/trinet-synthetic/src/voiceface_trinet_synthetic"
CALIBRATION = {"v2f": {"slope": 4.0, "intercept": 0.0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, voices and face crops."""
    folder = tmp_path_factory.mktemp("demo")
    make("cosine", folder / "checkpoint")
    for i in range(3):
        write_voice(folder / f"voices/v{i}.wav", i)
    for i in range(12):
        write_face(folder / f"faces/<b>{i}.png", i)
    return folder


@pytest.fixture
def demo(folder: Path) -> Demo:
    return Demo(Model(folder / "checkpoint"))


def names(answer: str) -> list[str]:
    """The ranked names of an answer."""
    return re.findall(r"<b>([^<]*)</b><br>similarity", answer)


def faces(folder: Path, number: int = 3) -> list[str]:
    return [str(folder / f"faces/<b>{i}.png") for i in range(number)]


def test_an_answer_ranks_as_the_model_does_and_shows_what_it_was_given(folder: Path, demo: Demo):
    voice = str(folder / "voices/v1.wav")
    answer = demo.match([voice], faces(folder), "v2f", detect=False)
    found = demo.model.match(voice, faces(folder), detect=False)
    assert names(answer) == [f"&lt;b&gt;{match.place}" for match in found]
    assert [float(one) for one in re.findall(r"similarity (-?[\d.]+)", answer)] == pytest.approx(
        [match.similarity for match in found], abs=5e-4
    )
    assert (answer.count("<img"), answer.count("<audio")) == (3, 1)
    assert "not calibrated" in answer
    backwards = demo.match(faces(folder, 1), [str(folder / f"voices/v{i}.wav") for i in range(3)], "f2v", False)
    assert (backwards.count("<img"), backwards.count("<audio")) == (1, 3)


def test_two_candidates_of_a_calibrated_checkpoint_have_a_probability(folder: Path, demo: Demo):
    demo.model.config["calibration"] = CALIBRATION
    voice, two = str(folder / "voices/v1.wav"), faces(folder, 2)
    best = demo.model.match(voice, two, detect=False)[0].probability
    assert best is not None
    shares = re.findall(r"probability (\d+) %", demo.match([voice], two, "v2f", False))
    assert shares == [f"{100 * best:.0f}", f"{100 * (1 - best):.0f}"]
    assert "Probabilities are shown for two faces only" in demo.match([voice], faces(folder), "v2f", False)


def test_unusable_files_are_told_in_plain_words(folder: Path, demo: Demo, tmp_path: Path):
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (90, 90), "green").save(tmp_path / "flat.png")
    Image.fromarray(rendered(1)).save(tmp_path / "face.png")
    (tmp_path / "silent.flac").write_bytes(encode_flac(np.zeros(16_000, np.int16)))
    (tmp_path / "long.flac").write_bytes(encode_flac(wave(1, LONGEST + 1)))
    voice, three = str(folder / "voices/v1.wav"), [str(tmp_path / f"{n}") for n in ("text.jpg", "flat.png", "face.png")]
    answer = demo.match([voice], three, "v2f", detect=True)
    assert names(answer) == ["face"]
    assert "text.jpg was left out: not an image." in answer
    assert "flat.png was left out: no face was found in it." in answer
    silent = demo.match([str(tmp_path / "silent.flac")], faces(folder), "v2f", detect=False)
    assert names(silent) == []
    assert "silent.flac was left out: it is silent." in silent
    assert "no usable voice" in silent
    assert f"longer than {LONGEST:g} s" in demo.match([str(tmp_path / "long.flac")], faces(folder), "v2f", False)
    assert "a picture, where a voice is wanted" in demo.match(faces(folder, 1), faces(folder), "v2f", False)
    assert "Give one voice" in demo.match([], [], "v2f", False)
    assert "no usable face" in demo.match([voice], three[:2], "v2f", True)


def test_no_more_than_ten_are_compared(folder: Path, demo: Demo):
    answer = demo.match([str(folder / "voices/v1.wav")], faces(folder, 12), "v2f", detect=False)
    assert len(names(answer)) == 10
    assert "Only the first 10 of 12 faces were compared." in answer


def test_a_method_for_two_says_so_without_a_path(folder: Path, tmp_path: Path):
    demo = Demo(make("relative", tmp_path / "svhf"))
    voice = str(folder / "voices/v1.wav")
    assert len(names(demo.match([voice], faces(folder, 2), "v2f", False))) == 2
    answer = demo.match([voice], faces(folder, 3), "v2f", False)
    assert "chooses between 2 candidates, not 3; give 2" in answer
    assert str(tmp_path) not in answer


def test_a_gallery_is_searched_and_shown_but_nothing_outside_it(folder: Path, tmp_path: Path):
    model = Model(folder / "checkpoint")
    listed = files_below(folder / "faces", "face")
    index = build_index(tmp_path / "index", model, "face", listed, lambda *_: None, detect=False)
    voice = str(folder / "voices/v0.wav")
    bare = Demo(model, index).search([voice], True)
    places = index.search(model.embed_voice(voice))[0][0]
    assert names(bare) == [index.keys[place].replace("<b>", "&lt;b&gt;") for place in places]
    assert "<img" not in bare
    assert Demo(model, index, folder / "faces").search([voice], True).count("<img") == 10
    Image.fromarray(rendered(1)).save(tmp_path / "secret.png")
    (tmp_path / "shown").mkdir()
    index.keys = ["../secret.png"] * len(index.keys)
    assert "<img" not in Demo(model, index, tmp_path / "shown").search([voice], True)
    assert "Give one voice" in Demo(model, index).search([], True)


def test_the_notes_warn_of_synthetic_training_and_of_probabilities(demo: Demo):
    assert "trained on synthetic people" in notes(demo.model)
    assert "probability" not in notes(demo.model)
    demo.model.config |= {"calibration": CALIBRATION, "data": {"corpus": "<real>"}}
    said = notes(demo.model)
    assert "synthetic" not in said
    assert "&lt;real&gt;" in said
    assert "Never use it to identify or screen people" in said


def test_the_examples_are_clips_as_the_networks_were_trained_on(demo: Demo, tmp_path: Path):
    examples = write_examples(tmp_path, margin=1.0)
    assert len(examples) == 3
    for files in examples.values():
        assert Image.open(files["face"]).size == (112, 112)
        clips, problems = demo.read("voice", [files["voice"]], True)
        assert (len(clips), problems) == (1, [])


def test_the_one_installed_checkpoint_is_the_default(
    no_installed_checkpoints: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert main(["demo"]) == 2
    assert "CHECKPOINT: none is installed; give a checkpoint folder" in capsys.readouterr().err
    there = [EntryPoint("one", "one", checkpoints.GROUP)]
    monkeypatch.setattr(checkpoints, "entry_points", lambda group: there)
    assert only_checkpoint() == "one"
    there.append(EntryPoint("two", "two", checkpoints.GROUP))
    with pytest.raises(UserError, match=r"2 are installed \(one, two\)"):
        only_checkpoint()


def test_mistakes_are_answered_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = ["demo", str(folder / "checkpoint")]
    assert main([*words, "--files", str(folder)]) == 2
    assert "--files" in capsys.readouterr().err
    assert main([*words, "--gallery", "x", "--files", "nowhere"]) == 2
    assert "--files nowhere: no such folder" in capsys.readouterr().err
    monkeypatch.setattr(page, "version", lambda name: "3.18.0")
    assert main(words) == 2
    assert capsys.readouterr().err == "voiceface: the page needs the extra `demo`: pip install 'voiceface[demo]'\n"
    monkeypatch.setattr(page, "version", lambda name: "6.31.0")
    check_extra()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: address already in use; give another"):
            free_port("127.0.0.1", port)
    for host, wrong in (("192.0.2.1", 0), ("127.0.0.1", 70_000)):
        with pytest.raises(UserError, match=f"--host {host} --port {wrong}: "):
            free_port(host, wrong)


in_a_browser = pytest.mark.slow(reason="a server of its own, and a Chromium, which the quick tier does without")


@pytest.mark.slow(reason="imports Gradio, which the quick tier does without")
def test_a_method_for_one_direction_has_one_tab(tmp_path: Path):
    gradio = pytest.importorskip("gradio", minversion="6.31")
    demo = Demo(make("relative", tmp_path / "svhf"))
    built = page.build_page(demo, write_examples(tmp_path, margin=1.0))
    assert [one.label for one in built.blocks.values() if isinstance(one, gradio.Tab)] == ["Find the face"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `voiceface demo`; when it is ended, nothing that was uploaded is left."""
    pytest.importorskip("gradio", minversion="6.31")
    if not DATA:
        pytest.skip("VOICEFACE_TEST_DATA names no folder with real recordings")
    folder = tmp_path_factory.mktemp("served")
    Image.fromarray(rendered(2)).save(folder / "face.png")
    gallery = folder / "faces"
    gallery.mkdir()
    for i in range(3):
        Image.fromarray(rendered(i)).save(gallery / f"p{i}.png")
    assert main(["index", str(CHECKPOINT), str(gallery), str(folder / "index")]) == 0
    temporary = folder / "tmp"
    temporary.mkdir()
    words = ["demo", CHECKPOINT, "--port", "0", "--gallery", folder / "index", "--files", gallery]
    environment = os.environ | ENVIRONMENT | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "voiceface", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("http://127.0.0.1:"), process.communicate()[1]
            yield line.split()[0]
            assert any(path.is_file() for path in temporary.rglob("uploads/**/*"))
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, ("", ""))
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    sync = pytest.importorskip("playwright.sync_api")
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a camera and a microphone
    with sync.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *fake])
        yield running
        running.close()


@pytest.fixture
def opened(served: str, browser: Any) -> Iterator[Any]:
    """The page; at the end no request went to another machine, and no script failed."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    opened, asked, failed = context.new_page(), [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: failed.append(str(error)))
    opened.goto(served)
    opened.locator("#v2f-go").wait_for()
    yield opened
    context.close()
    assert failed == []
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []


def give(opened: Any, where: str, *files: Path) -> None:
    """Upload files, and wait until the page has them."""
    with opened.expect_response(re.compile("/gradio_api/upload")):
        opened.locator(f"#{where} input[type=file]").set_input_files(files)
    shown = opened.locator(f"#{where} img, #{where} tr, #{where} [data-testid=waveform-controls]")
    shown.nth(len(files) - 1).wait_for(state="attached")


def ask(opened: Any, where: str) -> str:
    """Press the button, and read the answer to it, not to the question before."""
    answer = opened.locator(f"#{where}-answer")
    answer.evaluate("node => node.querySelectorAll('div, p').forEach(one => one.classList.add('before'))")
    opened.locator(f"#{where}-go").click()
    answer.locator(":is(.vf-query, .vf-left-out):not(.before)").first.wait_for()
    return str(answer.inner_text())


@in_a_browser
def test_an_uploaded_voice_and_faces_are_ranked(opened: Any):
    media = Path(DATA) / "media"
    give(opened, "v2f-query", media / "audio/jfk.mp3")
    give(opened, "v2f-candidates", *(media / "img" / name for name in ("obama_rgb.jpg", "two_faces.jpg")))
    told = ask(opened, "v2f")
    assert set(re.findall(r"obama_rgb|two_faces", told)) == {"obama_rgb", "two_faces"}
    shares = [int(share) for share in re.findall(r"probability (\d+) %", told)]
    assert len(shares) == 2
    assert sum(shares) in (99, 100, 101)
    assert shares == sorted(shares, reverse=True)
    crops = opened.locator("#v2f-answer li img")
    assert crops.evaluate_all("all => all.map(one => one.naturalWidth > 0)") == [True, True]


@in_a_browser
def test_what_cannot_be_used_is_told_in_plain_words(opened: Any):
    media = Path(DATA) / "media"
    assert "Give one voice" in ask(opened, "v2f")
    give(opened, "v2f-query", media / "audio/jfk_truncated.mp3")
    give(opened, "v2f-candidates", media / "img/no_face_flat.jpg", media / "img/text_as.jpg")
    told = ask(opened, "v2f")
    assert "jfk_truncated.mp3 was left out: its end is missing." in told
    assert "no_face_flat.jpg was left out: no face was found in it." in told
    assert "text_as.jpg was left out: not an image." in told
    assert "Traceback" not in told


@in_a_browser
def test_the_reverse_takes_uploads_and_a_recording(opened: Any):
    media = Path(DATA) / "media"
    opened.get_by_role("tab", name="Find the voice").click()
    give(opened, "f2v-query", media / "img/obama.webp")
    give(opened, "f2v-candidates", media / "audio/jfk.m4a", media / "audio/silent_3s.wav")
    opened.locator("button:visible", has_text="Record").last.click()
    opened.wait_for_timeout(1500)
    opened.locator("button:visible", has_text="Stop").first.click()
    opened.locator("#f2v-candidates tr").nth(2).wait_for()
    told = ask(opened, "f2v")
    assert {"jfk", "audio"} <= set(told.split())
    assert "silent_3s.wav was left out: it is silent." in told
    players = opened.locator("#f2v-answer li audio")
    assert players.count() == 2
    opened.wait_for_function("[...document.querySelectorAll('#f2v-answer li audio')].every(one => one.duration > 1)")


@in_a_browser
def test_an_example_fills_the_inputs_and_a_camera_adds_a_face(opened: Any):
    opened.get_by_role("button", name="Person B's voice").first.click()
    opened.locator("#v2f-candidates img").nth(2).wait_for()
    assert not opened.locator("#v2f-detect input").is_checked()
    told = ask(opened, "v2f")
    assert re.search(r"You asked for: Person B", told)
    assert sorted(re.findall(r"Person [ABC]\nsimilarity", told)) == [f"Person {c}\nsimilarity" for c in "ABC"]
    opened.locator("#v2f-candidates button[aria-label*=webcam]").click()
    opened.locator("#v2f-candidates").get_by_text("Click to Access Webcam").click()
    opened.wait_for_function("document.querySelector('#v2f-candidates video')?.videoWidth > 0")
    opened.wait_for_timeout(500)
    opened.locator("#v2f-candidates button[aria-label='capture photo']").click()
    opened.locator("#v2f-candidates img").nth(3).wait_for()
    assert ask(opened, "v2f").count("similarity") == 4


@in_a_browser
def test_the_gallery_is_searched(opened: Any):
    opened.get_by_role("tab", name="Search a gallery").click()
    opened.locator("button:visible", has_text="Person A's voice").click()
    opened.locator("#search-query [data-testid=waveform-controls]").wait_for()
    told = ask(opened, "search")
    assert sorted(re.findall(r"p\d\.png", told)) == ["p0.png", "p1.png", "p2.png"]
    assert opened.locator("#search-answer li img").count() == 3


@in_a_browser
def test_the_page_fits_a_phone_and_serves_no_other_file(served: str, browser: Any):
    context = browser.new_context(viewport={"width": 400, "height": 850})
    phone = context.new_page()
    phone.goto(served)
    phone.locator("#v2f-go").wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 400
    assert [tab.inner_text() for tab in phone.get_by_role("tab").all() if tab.is_visible()] == [
        "Find the face",
        "Find the voice",
        "Search a gallery",
    ]
    for path in ("/etc/passwd", ROOT / "README.md", Path(tempfile.gettempdir()) / "x"):
        assert phone.request.get(f"{served}gradio_api/file={path}").status in (403, 404)
    config = phone.request.get(f"{served}config").json()
    assert (config["analytics_enabled"], config["run_history"], config["footer_links"]) == (False, False, [])
    context.close()
