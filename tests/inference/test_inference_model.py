"""`voiceface.load` and what it gives: the same embeddings for files and arrays, in batches of any size."""

import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from inference_support import make, picture, rendered, wave, write_face, write_voice
from PIL import Image

import voiceface
from voiceface.cli import build_parser
from voiceface.cli.prepare import run_prepare
from voiceface.data.module import VoxVGGDataModule
from voiceface.data.prepare.media import vad
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.data.stream.batches import EvaluationBatches
from voiceface.data.stream.sampling import Sampling
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.voice import voice_clip
from voiceface.inference.gallery import Index
from voiceface.inference.media import has_speech, read_one_voice
from voiceface.inference.model import Model
from voiceface.methods.base import Method
from voiceface.utils.errors import UserError

detector = pytest.mark.skipif(find_spec("mtcnn") is None, reason="the extra `prepare` is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make("cosine", tmp_path_factory.mktemp("checkpoint"))


def test_importing_the_package_imports_no_torch():
    code = "import sys, voiceface; voiceface.list_recipes(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_loaded_is_the_checkpoint(model: Model):
    assert isinstance(model.method, Method)
    assert not model.method.training
    assert model.config == json.loads((model.folder / "config.json").read_text())
    with pytest.raises(UserError, match="no such device"):
        voiceface.load(model.folder, "cuda:99")


def test_voices_do_not_depend_on_the_batch_or_their_neighbours(model: Model):
    waves = [wave(seed, seconds) for seed, seconds in enumerate([0.3, 4.0, 1.0, 2.5, 1.0, 7.3, 0.9, 130.0])]
    alone = torch.cat([model.method.embed_voice(torch.from_numpy(one)[None]) for one in waves]).detach()
    for batch in (1, 3, 64):
        embedded = model.embed_voice(waves, batch=batch)
        assert embedded.dtype == torch.float32
        torch.testing.assert_close(embedded, alone, atol=1e-4, rtol=0)
    assert (alone[0] - alone[1]).abs().max() > 1e-3  # voices differ by more than what is allowed


def test_faces_do_not_depend_on_the_batch(model: Model):
    pictures = [picture(seed, 64 + 7 * seed) for seed in range(9)]
    one = model.embed_face(pictures, detect=False, batch=1)
    torch.testing.assert_close(model.embed_face(pictures, detect=False, batch=5), one, atol=1e-4, rtol=0)
    assert (one[0] - one[1]).abs().max() > 1e-3


def test_every_way_to_give_a_voice(model: Model, tmp_path: Path):
    samples = wave(1, 1.5)
    path = tmp_path / "voice.wav"
    soundfile.write(path, samples, 16_000)
    expected = model.embed_voice(samples)
    assert expected.shape == (1, 16)
    for given in (path, str(path), [path], samples / 32768, torch.from_numpy(samples), (samples, 16_000), [samples]):
        torch.testing.assert_close(model.embed_voice(given), expected, atol=1e-5, rtol=0)
    twice = model.embed_voice([path, samples])
    torch.testing.assert_close(twice, expected.expand(2, -1), atol=1e-5, rtol=0)


def test_an_array_of_another_rate_is_resampled_as_a_file_is(model: Model, tmp_path: Path):
    path = tmp_path / "voice.wav"
    soundfile.write(path, wave(2, 2.0), 22_050)
    torch.testing.assert_close(model.embed_voice((wave(2, 2.0), 22_050)), model.embed_voice(path), atol=1e-4, rtol=0)
    assert (model.embed_voice(path) - model.embed_voice(wave(2, 2.0))).abs().max() > 1e-3


def test_every_way_to_give_a_face(model: Model, tmp_path: Path):
    pixels = picture(3)
    path = tmp_path / "face.png"
    Image.fromarray(pixels).save(path)
    expected = model.embed_face(pixels, detect=False)
    for given in (path, str(path), [path], Image.fromarray(pixels), torch.from_numpy(pixels.copy()), pixels[None]):
        torch.testing.assert_close(model.embed_face(given, detect=False), expected)


@pytest.mark.parametrize("kind", ["turned", "16 bit", "transparent"])
def test_an_open_picture_is_read_as_its_file_is(kind: str, model: Model, tmp_path: Path):
    path, image = tmp_path / "face.png", Image.fromarray(picture(3))
    if kind == "16 bit":
        image = Image.fromarray(picture(3)[..., 0].astype(np.uint16) * 257)
    if kind == "transparent":
        image.putalpha(Image.fromarray(picture(4)[..., 1]))
    exif = image.getexif()
    exif[0x0112] = 6 if kind == "turned" else 1  # orientation
    image.save(path, exif=exif)
    expected = model.embed_face(path, detect=False)
    with Image.open(path) as opened:
        torch.testing.assert_close(model.embed_face(opened, detect=False), expected)
        naive = model.embed_face(np.asarray(opened.convert("RGB")), detect=False)
    assert not torch.allclose(naive, expected, atol=1e-3)


def test_an_open_picture_that_is_damaged(model: Model, tmp_path: Path):
    whole = write_face(tmp_path / "f.png", 0).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with Image.open(tmp_path / "half.png") as opened, pytest.raises(UserError, match="face 0: truncated"):
        model.embed_face(opened, detect=False)


def test_crops_of_the_networks_own_size_are_given_to_it_as_they_are(model: Model):
    crops = [picture(seed, model.method.face_encoder.size) for seed in range(3)]
    with torch.no_grad():
        expected = model.method.embed_face(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2))
    torch.testing.assert_close(model.embed_face(crops, detect=False), expected)
    mixed = model.embed_face([picture(9, 90), crops[1]], detect=False)
    torch.testing.assert_close(mixed[1:], expected[1:2])
    torch.testing.assert_close(mixed[:1], model.embed_face(picture(9, 90), detect=False))


@detector
def test_a_file_is_embedded_as_a_prepared_corpus_of_it(model: Model, tmp_path: Path):
    """The whole way of training and testing - prepare, shards, data module - is the independent reference."""
    raw, seen, heard = tmp_path / "raw", {}, {}
    for number in range(3):
        for kind in ("voice", "face"):
            (raw / f"p{number}" / kind).mkdir(parents=True)
        seen[f"p{number}"] = raw / f"p{number}/face/a.png"
        heard[f"p{number}"] = write_voice(raw / f"p{number}/voice/a.flac", number, 1.0 + number)
        Image.fromarray(rendered(number)).save(seen[f"p{number}"])
    (raw / "identities.csv").write_text("identity,split\np0,test\np1,test\np2,test\n")
    words = f"prepare folder {raw} {tmp_path}/corpus --faces detect --workers 1"
    run_prepare(build_parser().parse_args(words.split()))
    data = VoxVGGDataModule(str(tmp_path / "corpus"))
    sampling = Sampling(2, 1, 1, 1.0, model.method.face_encoder.size, 1.0, False, 0)
    batch = EvaluationBatches(data.corpus, "test", data.bundles("test"), sampling, "stop", 8)[0]
    with torch.no_grad():
        voices = model.method.embed_voice(batch["voices"], batch["voice_lengths"])
        faces = model.method.embed_face(batch["faces"])
    names = [key.split("/")[0] for key in batch["face_keys"]]
    torch.testing.assert_close(model.embed_face([seen[name] for name in names]), faces)
    names = [key.split("/")[0] for key in batch["voice_keys"]]
    torch.testing.assert_close(model.embed_voice([heard[name] for name in names]), voices, atol=1e-5, rtol=0)


def test_the_margin_of_crops(tmp_path: Path):
    """A network that wants 1.36 times the box is given the middle of crops that show twice the box."""
    model = make("cosine", tmp_path, face_margin=1.36)
    wide = picture(5, 400)
    side = round(400 * 1.36 / 2)
    edge = (400 - side) // 2
    middle = wide[edge : edge + side, edge : edge + side]
    cut, whole = (model.embed_face(p, detect=False, margin=m) for p, m in ((wide, 2.0), (middle, None)))
    assert (cut - whole).norm() < 0.1 * (model.embed_face(wide, detect=False) - whole).norm()
    with pytest.raises(UserError, match=r"wants 1\.36 times the face box"):
        model.embed_face(wide, detect=False, margin=1.2)


def test_what_cannot_be_used_is_named(model: Model, tmp_path: Path):
    voice, face = write_voice(tmp_path / "v.wav", 0), write_face(tmp_path / "f.png", 0)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "short.wav", wave(0, 0.2), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000, np.int16), 16_000)
    for given, said in (
        (tmp_path / "missing.wav", r"missing\.wav: no such file"),
        (tmp_path, "a folder, where a file is wanted"),
        (face, r"f\.png: a picture, where a voice is wanted"),
        (tmp_path / "empty.wav", "empty file"),
        (tmp_path / "short.wav", r"shorter than 0\.5 s"),
        (tmp_path / "silent.wav", "silent"),
        ([voice, np.full(16_000, np.nan, np.float32)], "voice 1: values that are not finite"),
        (np.full(16_000, 12_000.0), r"voice 0: samples of up to 12000; give int16, or float in \[-1, 1\]"),
        (np.zeros((2, 16_000), np.int16), r"shape \(2, 16000\) is no voice"),
        (np.zeros(16_000, np.int64), "samples of type int64"),
        ((wave(0, 1.0), 100), "sample rate 100"),
        ([np.zeros(0, np.int16)], r"an array of shape \(0,\)"),
        ([], "no voices to embed"),
        (None, "NoneType is no voice; give a file"),
    ):
        with pytest.raises(UserError, match=said) as error:
            model.embed_voice(given)
        assert "\n" not in str(error.value)
    for given, said in (
        (tmp_path / "missing.png", r"missing\.png: no such file"),
        (voice, r"v\.wav: no picture, where a face is wanted"),
        ([face, np.zeros((9, 9, 3), np.uint8)], "face 1: smaller than 32 px"),
        (np.zeros((64, 64, 3)), "face 0: float64 of shape"),
    ):
        with pytest.raises(UserError, match=said):
            model.embed_face(given, detect=False)


@detector
def test_a_picture_without_a_face(model: Model, tmp_path: Path):
    with pytest.raises(UserError, match=r"f\.png: no face"):
        model.embed_face(write_face(tmp_path / "f.png", 0))


def test_without_the_detector(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    with pytest.raises(UserError, match=r"pip install 'voiceface\[prepare\]'.*--asis") as error:
        model.embed_face(picture(0))
    assert "\n" not in str(error.value)
    assert model.embed_face(picture(0), detect=False).shape == (1, 16)


def test_each_goes_on_past_what_cannot_be_used(model: Model, tmp_path: Path):
    good = [write_voice(tmp_path / f"{i}.wav", i) for i in range(3)]
    rows = list(model.embed_each("voice", [good[0], tmp_path / "none.wav", *good[1:], tmp_path / "no.wav"]))
    assert [isinstance(row, Rejected) for row in rows] == [False, True, False, False, True]
    torch.testing.assert_close(torch.stack([rows[0], rows[2], rows[3]]), model.embed_voice(good), atol=1e-5, rtol=0)


def test_a_model_says_what_it_is_and_warns_once(tmp_path: Path):
    own = make("cosine", tmp_path / "checkpoint")
    assert repr(own) == (
        "<Model trinet-synthetic: trinet (TriNet), 16-dimensional embeddings, compared by cosine, "
        f"{own.method.count_parameters():,} parameters, trained on synthetic>"
    )
    voice, faces = np.asarray(wave(0, 1.0)), [picture(0), picture(1)]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        for _ in range(2):
            own.match(voice, faces, detect=False)
            own.retrieve(voice, faces, detect=False)
    assert [str(one.message) for one in said] == [
        "voice 0: no speech was found in it; its embedding means nothing",
        "trinet-synthetic was trained on synthetic people: its answers say nothing about real people",
    ]
    assert {one.filename for one in said} == {__file__}
    real = make("cosine", tmp_path / "real")
    real.config["data"] = {"corpus": "people"}
    lines: list[str] = []
    real.note = lines.append
    real.match(rendered_voice(), faces, detect=False)
    assert lines == []


def rendered_voice() -> np.ndarray:
    return voice_clip(person(SyntheticOptions(), 0), 0)[0]


@pytest.mark.parametrize("installed", [True, False])
def test_speech_is_told_from_noise(installed: bool, monkeypatch: pytest.MonkeyPatch):
    if installed:
        pytest.importorskip("silero_vad")
    else:
        monkeypatch.setattr(vad, "_silero", vad._silero.__wrapped__)
        monkeypatch.setitem(sys.modules, "silero_vad", None)
    rng = np.random.default_rng(0)
    white = rng.standard_normal(48_000)
    brown = np.cumsum(white)
    tone = np.sin(np.arange(48_000) / 10)
    for sound in (3_000 * white, 20_000 * brown / np.abs(brown).max(), 8_000 * tone, 5 * white, 8_000 * tone + white):
        assert not has_speech(sound.astype(np.int16))
    spoken = rendered_voice()
    assert has_speech(spoken)
    assert has_speech((spoken // 100).astype(np.int16))
    if "VOICEFACE_TEST_DATA" in os.environ:
        assert not has_speech(read_one_voice(MEDIA / "audio/noise_3s.wav"))
        for name in ("jfk_quiet.wav", "jfk_clipped.wav", "jfk_8k.wav"):
            assert has_speech(read_one_voice(MEDIA / "audio" / name))


def test_retrieve_is_the_search_of_a_folder_a_list_and_an_index(tmp_path: Path):
    own = make("cosine", tmp_path / "checkpoint")
    lines: list[str] = []
    own.note = lines.append
    files = [write_face(tmp_path / f"faces/p{i}/{i}.png", i) for i in range(4)]
    (tmp_path / "faces/bad.png").touch()
    voice = wave(0, 1.0)
    found = own.retrieve(voice, tmp_path / "faces", 3, detect=False)
    assert "left out bad.png: empty file" in lines
    matched = own.match(voice, files, detect=False)
    assert [hit.name for hit in found] == [f"p{one.place}/{one.place}.png" for one in matched[:3]]
    assert [hit.similarity for hit in found] == pytest.approx([one.similarity for one in matched[:3]], abs=1e-5)
    index = Index.build(tmp_path / "faces", tmp_path / "faces.index", own, detect=False)
    assert own.retrieve(voice, index, 3) == found
    listed = own.retrieve(voice, [*files, tmp_path / "faces/bad.png"], 3, detect=False)
    assert [(hit.name, hit.place) for hit in listed] == [(str(files[one.place]), one.place) for one in matched[:3]]
    with pytest.raises(UserError, match="face 0: a face, and the index holds faces; give a voice"):
        own.retrieve(picture(0), index, direction="f2v", detect=False)
    with pytest.raises(UserError, match="2 voices as the query"):
        own.retrieve([voice, voice], index)
    with pytest.raises(UserError, match="give 1 or more"):
        own.retrieve(voice, index, 0)


MEDIA = Path(os.environ.get("VOICEFACE_TEST_DATA", ""), "media")


@detector
@pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")
def test_every_format(model: Model):
    """One speech in many formats gives nearly one embedding, whatever the container; likewise one face."""
    for kind, folder, same in (
        ("voice", "audio", (".aac", ".m4a", ".mp3", ".opus", "16k_mono.wav", "48k_stereo.flac", "f32.wav", "s24.wav")),
        ("face", "img", (".webp", "_rgb.jpg", "_rgb16.png", "_prog.jpg", "_cmyk.jpg")),
    ):
        files = sorted((MEDIA / folder).iterdir())
        rows = dict(zip(files, model.embed_each(kind, files), strict=True))  # type: ignore[arg-type]
        alike = torch.stack([row for f, row in rows.items() if f.name.endswith(same) and "truncated" not in f.name])  # type: ignore[misc]
        assert len(alike) == len(same)
        assert (torch.nn.functional.normalize(alike) @ torch.nn.functional.normalize(alike).T).min() > 0.98
        refused = {f.name: row.reason for f, row in rows.items() if isinstance(row, Rejected)}
        assert refused["zero_bytes.wav" if kind == "voice" else "zero_bytes.jpg"] == "empty file"
