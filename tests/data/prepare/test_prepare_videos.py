import csv
import io
import os
import pickle
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from speech_support import hush, speech
from tests_support import examples

from voiceface.data.corpus.bundles import Reject
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.media import frames
from voiceface.data.prepare.media.faces import FaceOptions
from voiceface.data.prepare.media.frames import read_frames
from voiceface.data.prepare.media.rejected import Rejected
from voiceface.data.prepare.media.speech import VoiceOptions
from voiceface.data.prepare.people import prepare_people
from voiceface.data.prepare.sources.people import Reading
from voiceface.data.prepare.videos import VideosOptions, collect_videos, make_videos_person
from voiceface.utils.errors import UserError

DATA = Path(os.environ.get("VOICEFACE_TEST_DATA", ""))
needs_data = pytest.mark.skipif("VOICEFACE_TEST_DATA" not in os.environ, reason="VOICEFACE_TEST_DATA is not set")
OPTIONS = VideosOptions(reading=Reading(VoiceOptions(), FaceOptions(faces="asis", size=32)))


def picture(number: int) -> np.ndarray:
    """A picture that shows its number as grey levels; its left upper corner is white."""
    image = np.full((48, 64, 3), 16, np.uint8)
    image[24:] = 40 + number % 40 * 5
    image[:16, :16] = 250
    return image


def video(
    path: Path, seconds: float = 2.0, fps: int = 10, sound: np.ndarray | None = None, pictures: bool = True
) -> Path:
    """Write a video of numbered pictures with a tone; any of the two may be missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if sound is None:
        sound = np.rint(9000 * np.sin(np.arange(round(16_000 * seconds)) * 0.1)).astype(np.int16)
    with av.open(str(path), "w") as container:
        if pictures:
            seen = container.add_stream("mpeg4", rate=fps)
            seen.width, seen.height, seen.pix_fmt, seen.bit_rate = 64, 48, "yuv420p", 4_000_000
        if len(sound):
            heard = container.add_stream("aac", rate=16_000)
            heard.layout = "mono"
        if pictures:
            for number in range(round(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
                container.mux(seen.encode(frame))
            container.mux(seen.encode(None))
        if len(sound):
            frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32) / 32768, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=16_000, frame_size=1024)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(heard.encode(part))
            container.mux(heard.encode(None))
    return path


def shown(part: np.ndarray) -> int:
    """Number of a picture modulo 40, from a part below its middle."""
    return round((float(part.mean()) - 40) / 5)


def numbers(path: Path, fps: float) -> list[tuple[float, int]]:
    """Time and number of the frames that are read."""
    return [(round(time, 3), shown(image[30:])) for time, image in read_frames(path, fps)]


@settings(max_examples=examples(15), deadline=None)
@given(rate=st.sampled_from([5, 10, 25, 30]), fps=st.sampled_from([0.5, 1, 3, 7, 10, 60]))
def test_frames_of_a_second(tmp_path_factory: pytest.TempPathFactory, rate: int, fps: float) -> None:
    path = video(tmp_path_factory.mktemp("v") / "a.mp4", 40 / rate, rate, np.zeros(0, np.int16))
    expected, taken = [], set()
    for number in range(40):
        # The first frame of each 1 / fps seconds.
        if (place := int(number / rate * fps + 1e-6)) not in taken:
            taken.add(place)
            expected.append((round(number / rate, 3), number))
    assert numbers(path, fps) == expected


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "corner"),
    [
        (1, 0, 0, 1, (0, 0)),
        (0, 1, -1, 0, (0, 1)),
        (-1, 0, 0, -1, (1, 1)),
        (0, -1, 1, 0, (1, 0)),
    ],
)
def test_phone_videos_are_turned_upright(
    tmp_path: Path, a: int, b: int, c: int, d: int, corner: tuple[int, int]
) -> None:
    path = video(tmp_path / "a.mp4")
    content = path.read_bytes()

    def matrix(*values: int) -> bytes:
        fixed = b"".join((v * 65536 & 0xFFFFFFFF).to_bytes(4, "big") for v in values)
        return fixed[:8] + bytes(4) + fixed[8:] + bytes(4) + bytes(8) + (1 << 30).to_bytes(4, "big")

    start = content.index(b"tkhd")
    place = content.index(matrix(1, 0, 0, 1), start)
    path.write_bytes(content[:place] + matrix(a, b, c, d) + content[place + 36 :])
    image = next(read_frames(path, 1))[1].mean(axis=2)
    assert image.shape == ((48, 64) if b == 0 else (64, 48))
    corners = image[:: image.shape[0] - 1, :: image.shape[1] - 1]
    assert tuple(np.argwhere(corners > 150)[0]) == corner
    assert (corners > 150).sum() == 1


def test_pixels_become_square(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        for number in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    assert next(read_frames(tmp_path / "a.mkv", 1))[1].shape == (48, 96, 3)


def reason(path: Path, **options: float) -> str:
    with pytest.raises(Rejected) as caught:
        list(read_frames(path, 1, **options))
    assert caught.value.stage == "video"
    return caught.value.reason


def test_videos_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "a.mp4", 3)
    assert reason(path, maximum_seconds=2) == "longer than 2 s"
    assert reason(video(tmp_path / "sound.mp4", pictures=False)) == "no video stream"
    (tmp_path / "text.mp4").write_text("no video")
    assert reason(tmp_path / "text.mp4").startswith("unreadable")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile a.mp4\n")
    assert reason(tmp_path / "list.mp4").startswith("unreadable")
    content = bytearray(video(tmp_path / "holes.mkv", 6).read_bytes())
    for place in range(len(content) // 3, len(content) * 2 // 3, 60):
        content[place : place + 25] = bytes(25)
    (tmp_path / "holes.mkv").write_bytes(content)
    assert reason(tmp_path / "holes.mkv") == "damaged"
    monkeypatch.setattr(frames, "MAXIMUM_PIXELS", 64 * 48 - 1)
    assert reason(path) == "picture too large (over 89 megapixels)"


def test_a_video_that_says_nothing_of_its_length_is_stopped(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w", options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.duration is None
    found = read_frames(tmp_path / "a.mkv", 1, 2.0)
    assert [next(found)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Rejected, match="longer than 2 s"):
        next(found)


def test_a_folder_of_videos(tmp_path: Path) -> None:
    for name in ("p0/a.mp4", "p0/a.webm", "p0/day/00001.mp4", "p0/day/00002.MP4", "p1/b.mov", "x.mp4", "p1/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "identities.csv").write_text("identity,gender,split\np0,f,train\np1,m,test\np2,m,test\n")
    found = collect_videos(tmp_path, OPTIONS)
    assert [(job.identity, job.split) for job in found.jobs] == [("p0", "train"), ("p1", "test")]
    assert [(s.path, s.key, s.video) for s in found.jobs[0].videos] == [
        ("p0/a.mp4", "p0/a.mp4", "a.mp4"),
        ("p0/a.webm", "p0/a.webm", "a.webm"),
        ("p0/day/00001.mp4", "p0/day/00001", "day"),
        ("p0/day/00002.MP4", "p0/day/00002", "day"),
    ]
    assert found.identities == {"p0": {"gender": "f"}, "p1": {"gender": "m"}}
    assert found.rejects == [
        Reject("x.mp4", "collect", "not in an identity's folder"),
        Reject("p1/notes.txt", "collect", "no video by its file extension"),
        Reject("p2/", "collect", "in identities.csv but without files"),
    ]
    assert pickle.loads(pickle.dumps(found.jobs)) == found.jobs


def test_a_manifest_of_videos(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    for name in ("far/a.mp4", "far/b.mp4", "here/a.mp4"):
        (tmp_path / name).touch()
    manifest = tmp_path / "here/list.csv"
    manifest.write_text(
        "identity;path;video;accent\np;../far/a.mp4;;north\np;a.mp4;v1;\nq;../far/b.mp4;;\nq;gone.mp4;;\n"
        "p;./a.mp4;;\n;x.mp4;;\n"
    )
    found = collect_videos(manifest, OPTIONS)
    assert [[(s.path, s.key, s.video) for s in job.videos] for job in found.jobs] == [
        [("../far/a.mp4", "p/far/a", "far/a"), ("a.mp4", "p/a", "v1")],
        [("../far/b.mp4", "q/far/b", "far/b")],
    ]
    assert found.identities == {"p": {"accent": "north"}, "q": {"accent": ""}}
    assert {(r.path, r.reason) for r in found.rejects} == {
        ("gone.mp4", "file does not exist"),
        ("a.mp4", "listed twice"),
        ("x.mp4", "row without identity or path"),
    }
    # What would be called alike keeps its way there.
    (tmp_path / "a.mp4").touch()
    manifest.write_text("identity,path\np,../a.mp4\np,a.mp4\nq,../far/b.mp4\n")
    assert [s.key for s in collect_videos(manifest, OPTIONS).jobs[0].videos] == ["p/../a", "p/a"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("identity\np\n", "no column path"),
        ("identity,path\np,a.mp4\nq,a.mp4\n", "line 3: a.mp4 belongs to q, above to p; one file is one person"),
        ("identity,path\np/x,a.mp4\n", "identity p/x cannot name a folder"),
        ("identity,path,split\np,a.mp4,dev\nq,b.mp4,dev\n", "split dev of identity p; give train, val or test"),
        ("identity,path\np,a.mp4\nq,gone.mp4\n", "1 identity with videos, matching needs two or more"),
    ],
)
def test_manifests_that_contradict_themselves(tmp_path: Path, rows: str, message: str) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text(rows)
    with pytest.raises(UserError) as caught:
        collect_videos(tmp_path / "list.csv", OPTIONS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder or file"):
        collect_videos(tmp_path / "gone", OPTIONS)
    for fps in (0, -1, 61, float("nan")):
        with pytest.raises(UserError, match="--fps"):
            collect_videos(tmp_path, VideosOptions(fps=fps))
    with pytest.raises(UserError, match="give 10 or less"):
        collect_videos(tmp_path, VideosOptions(reading=Reading(VoiceOptions(minimum_seconds=11))))
    with pytest.raises(UserError, match="which is only read"):
        prepare_people(tmp_path, tmp_path / "out", OPTIONS)


def test_voices_and_faces_of_a_video(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad")
    sound = np.concatenate([hush(2), speech(1.5), hush(2), speech(1.5, 190), hush(1)])
    video(tmp_path / "p/day/1.mkv", 8, sound=sound)
    video(tmp_path / "q/2.mkv")
    reading = Reading(VoiceOptions(vad="silero"), OPTIONS.reading.face)
    job = collect_videos(tmp_path, VideosOptions(reading=reading, fps=0.5)).jobs[0]
    person = make_videos_person(job)
    assert person.rejects == ()
    assert [clip.time for clip in person.faces] == [0, 2, 4, 6]
    assert [clip.key for clip in person.faces] == [f"p/day/1/f0000{t}.000" for t in (0, 2, 4, 6)]
    assert {(clip.video, clip.source) for clip in person.voices + person.faces} == {("day", "p/day/1.mkv")}
    for clip, number in zip(person.faces, (0, 20, 40, 60), strict=True):
        image = np.asarray(Image.open(io.BytesIO(clip.data)))
        assert image.shape == (32, 32, 3)
        assert shown(image[20:]) == number % 40
    assert [clip.time for clip in person.voices] == pytest.approx([2.0, 5.5], abs=0.1)
    for clip in person.voices:
        assert clip.key == f"p/day/1/v{clip.time:09.3f}"
        waveform, rate = soundfile.read(io.BytesIO(clip.data))
        assert rate == 16_000
        assert 1.3 < len(waveform) / rate < 1.8
    status = os.stat(tmp_path / "p/day/1.mkv")
    assert person.stamps == ((str(tmp_path / "p/day/1.mkv"), status.st_size, status.st_mtime_ns),)
    assert make_videos_person(job) == person


def test_a_video_needs_both(tmp_path: Path) -> None:
    video(tmp_path / "p/good.mp4")
    video(tmp_path / "p/mute.mp4", sound=np.zeros(0, np.int16))
    video(tmp_path / "p/silent.mp4", sound=np.zeros(32_000, np.int16))
    video(tmp_path / "p/sound.mp4", pictures=False)
    video(tmp_path / "q/good.mp4")
    reading = Reading(VoiceOptions(), FaceOptions(faces="asis", size=32, minimum_side=50))
    person = make_videos_person(collect_videos(tmp_path, OPTIONS).jobs[0])
    assert {clip.source for clip in person.voices + person.faces} == {"p/good.mp4"}
    assert set(person.rejects) == {
        Reject("p/mute.mp4", "voice", "no audio stream"),
        Reject("p/silent.mp4", "voice", "silent"),
        Reject("p/sound.mp4", "video", "no video stream"),
    }
    faceless = make_videos_person(collect_videos(tmp_path, VideosOptions(reading=reading)).jobs[1])
    assert (faceless.voices, faceless.faces) == ((), ())
    assert set(faceless.rejects) == {
        Reject("q/good.mp4#t=0", "face", "smaller than 50 px"),
        Reject("q/good.mp4#t=1", "face", "smaller than 50 px"),
        Reject("q/good.mp4", "video", "no usable face in any frame"),
    }


def test_a_video_that_vanishes(tmp_path: Path) -> None:
    for name in ("p/a.mp4", "p/b.mp4", "q/a.mp4"):
        video(tmp_path / name)
    job = collect_videos(tmp_path, OPTIONS).jobs[0]
    (tmp_path / "p/a.mp4").unlink()
    person = make_videos_person(job)
    assert person.rejects == (Reject("p/a.mp4", "video", "vanished since it was listed"),)
    assert {clip.source for clip in person.faces} == {"p/b.mp4"}


def test_a_corpus_of_videos(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("p/v/1.mp4", "p/v/2.mp4", "p/w.mp4", "q/a.mp4", "r/a.mp4", "s/a.mp4"):
        video(source / name)
    summary = prepare_people(source, tmp_path / "corpus", OPTIONS, workers=1, bundle="video")
    assert {split: counts["identities"] for split, counts in summary.splits.items()} == {
        "train": 2,
        "val": 0,
        "test": 2,
    }
    corpus = Corpus(tmp_path / "corpus")
    seen = []
    for split in ("train", "test"):
        for bundle in corpus.index(split):
            voices, faces = corpus.members(split, bundle)
            # One bundle is one video: batches of one video, and of different ones, can be told apart.
            assert len({member.video for member in voices + faces}) == 1
            seen += [(bundle.identity, member.video, member.key) for member in voices + faces]
    assert {(identity, video) for identity, video, _ in seen} == {
        *(("p", v) for v in ("v", "w")),
        *((identity, "a") for identity in "qrs"),
    }
    assert len({key for _, _, key in seen}) == len(seen) == 6 * 3
    again = prepare_people(source, tmp_path / "some", OPTIONS, workers=1, only="p,q")
    assert sum(counts["identities"] for counts in again.splits.values()) == 2


@needs_data
def test_real_videos(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad")
    if find_spec("mtcnn") is None:  # Its weights are read, its code is not imported.
        pytest.skip("mtcnn is not installed")
    paths = sorted((DATA / "videos").glob("*.mpg"))
    assert len(paths) == 10
    with (tmp_path / "list.csv").open("w") as file:
        csv.writer(file).writerows([("identity", "path"), *((f"p{i}", path) for i, path in enumerate(paths))])
    found = collect_videos(tmp_path / "list.csv", VideosOptions())
    assert found.rejects == []
    for job in found.jobs[:3]:
        person = make_videos_person(job)
        assert person.rejects == ()
        assert len(person.voices) == 1
        assert [clip.time for clip in person.faces] == [0, 1, 2]
        assert all(clip.landmarks is not None and len(clip.landmarks) == 10 for clip in person.faces)
        # The sentences of the GRID corpus take 1 to 2 s of 3.
        assert 1.0 < soundfile.info(io.BytesIO(person.voices[0].data)).duration < 2.2
