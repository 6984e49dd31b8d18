"""Remote corpora against a real server on loopback that cuts connections, lies and forgets."""

import gc
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_server import Server
from tests_support import tone_corpus

from voiceface.data.corpus import remote
from voiceface.data.corpus.remote import fetch
from voiceface.data.corpus.shards import Corpus
from voiceface.data.module import VoxVGGDataModule
from voiceface.utils.errors import UserError

pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = [("train", 3, 4)] * 6 + [("val", 2, 2)] * 2 + [("test", 3, 3)] * 3
    return tone_corpus(tmp_path_factory.mktemp("origin") / "tones", people, shard_bytes=100_000)


@pytest.fixture
def server(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves a copy of the corpus; requests are small and waits short."""
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "CHUNK", 50_000)
    monkeypatch.setattr(remote, "DELAYS", (0.01, 0.01))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(origin, tmp_path / "served")
    with Server(tmp_path / "served") as server:
        yield server


def shard(corpus: Corpus) -> tuple[str, str, int]:
    """Name, sha256 and size of the first training shard."""
    name = "train/000000.tar"
    sha256, size = corpus.files[name]
    assert size is not None
    return name, sha256, size


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def everything(corpus: Corpus) -> list[object]:
    return [(b, m, d) for split in ("train", "val", "test") for b, m, d in corpus.clips(split)]


def test_a_remote_corpus_reads_as_the_folder_does_and_each_file_is_fetched_once(server, origin, tmp_path):
    far, near = Corpus(server.root), Corpus(origin)
    assert everything(far) == everything(near)
    assert far.identities == near.identities
    assert everything(Corpus(server.root)) == everything(near)
    times = Counter(server.asked)
    assert times.pop(("/corpus.json", "")) == 2
    assert set(times.values()) == {1}
    assert cached(tmp_path) == sorted(sha256 for sha256, _ in near.files.values())


def test_a_cut_connection_goes_on_where_it_stopped(server, origin):
    far = Corpus(server.root)
    name, _, size = shard(far)
    server.cuts = 1
    assert far.path(name).read_bytes() == (origin / name).read_bytes()
    ranges = [wanted for path, wanted in server.asked if path.endswith(".tar")]
    starts = [int(re.findall(r"\d+", wanted)[0]) for wanted in ranges]
    assert server.cuts == 0
    assert starts[:2] == [0, 0]  # the cut request, again
    assert starts[1:] == list(range(0, size, 50_000))


def test_what_a_killed_process_left_is_gone_on_with_and_a_rotten_rest_is_not_trusted(server, origin, tmp_path):
    far = Corpus(server.root)
    name, sha256, _ = shard(far)
    whole = (origin / name).read_bytes()
    part = tmp_path / "cache/remote" / f"{sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(whole[:70_000])
    assert far.path(name).read_bytes() == whole
    assert next(wanted for path, wanted in server.asked if path.endswith(".tar")).startswith("bytes=70000-")
    far.path(name).unlink()
    part.write_bytes(b"rotten" * 10_000)
    assert far.path(name).read_bytes() == whole
    assert cached(tmp_path) == [sha256]


FETCH = (
    "import sys; from voiceface.data.corpus import remote; remote.CHUNK = 50_000; remote.fetch(*sys.argv[1:4], None or "
    "int(sys.argv[4]))"
)


def test_a_process_that_dies_while_it_fetches_leaves_a_usable_rest(server, origin, tmp_path):
    server.pause = 0.15
    name, sha256, size = shard(Corpus(origin))
    words = [sys.executable, "-c", FETCH, server.root, name, sha256, str(size)]
    process = subprocess.Popen(words)
    part = tmp_path / "cache/remote" / f"{sha256}.part"
    while process.poll() is None and (not part.exists() or part.stat().st_size < 50_000):
        time.sleep(0.01)
    process.kill()
    process.wait()
    left = part.stat().st_size
    assert 0 < left < size
    assert not part.with_suffix("").exists()
    server.asked.clear()
    assert fetch(server.root, name, sha256, size).read_bytes() == (origin / name).read_bytes()
    assert server.asked[0][1].startswith(f"bytes={left}-")


@pytest.mark.parametrize("name", ["train/000000.tar", "train/index.csv", "identities.csv"])
def test_other_bytes_than_the_description_says_are_refused_and_not_kept(server, origin, tmp_path, name):
    good = (server.folder / name).read_bytes()
    (server.folder / name).write_bytes(good[:-3] + bytes(b ^ 1 for b in good[-3:]))
    far = Corpus(server.root)
    with pytest.raises(UserError, match=rf"{name}: its content is not what corpus.json says"):
        far.path(name)
    assert cached(tmp_path) == []
    (server.folder / name).write_bytes(good)
    assert far.path(name).read_bytes() == good


def test_a_new_version_behind_the_same_address_does_not_mix_with_the_old(server, tmp_path):
    before = everything(Corpus(server.root))
    other = tone_corpus(tmp_path / "other", [("train", 3, 4)] * 5 + [("val", 2, 2)] * 2 + [("test", 3, 3)] * 3)
    shutil.rmtree(server.folder)
    shutil.copytree(other, server.folder)
    after = everything(Corpus(server.root))
    assert after == everything(Corpus(other))
    assert after != before


def test_a_server_without_ranges_and_one_that_is_busy_serve_too(server, origin):
    server.ranges, server.busy = False, 2
    assert everything(Corpus(server.root)) == everything(Corpus(origin))
    tars = Counter(path for path, _ in server.asked if path.endswith(".tar"))
    assert set(tars.values()) == {1}


def test_what_is_not_there_is_named_at_once(server):
    with pytest.raises(UserError, match=r"--data http://127.*/nowhere: not a corpus \(no corpus.json there\)"):
        Corpus(f"{server.root}/nowhere")
    far = Corpus(server.root)
    (server.folder / "train/000000.tar").unlink()
    server.asked.clear()
    with pytest.raises(UserError, match=r"train/000000.tar: not there, though corpus.json names it"):
        far.path("train/000000.tar")
    assert len(server.asked) == 1
    data = (server.folder / "test/000000.tar").read_bytes()
    (server.folder / "test/000000.tar").write_bytes(data[:30_000])
    with pytest.raises(UserError, match=r"test/000000\.tar: cannot be fetched"):
        far.path("test/000000.tar")
    server.busy = 99
    with pytest.raises(UserError, match="503"):
        Corpus(server.root)
    assert server.busy == 99 - 3


def test_a_dead_address_is_one_line(server, monkeypatch):
    monkeypatch.setattr(remote, "DELAYS", ())
    for address, message in (
        ("http://127.0.0.1:1/corpus", "corpus.json: cannot be fetched"),
        ("gopher://127.0.0.1/corpus", "not an address that can be read"),
        ("pipe:cat x", "refused"),
        ("fd:3", "refused"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            Corpus(address)
        assert "\n" not in str(caught.value)


def test_a_hub_address_is_understood(tmp_path: Path):
    """Without a network: the address goes to huggingface_hub, whose refusal comes out in one line."""
    pytest.importorskip("huggingface_hub")
    program = """
from voiceface.data.corpus import remote
remote.DELAYS = ()
try:
    remote.fetch("hf://datasets/owner/corpus", "train/000000.tar", "0" * 64, 10)
except remote.UserError as error:
    print(error)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "VOICEFACE_CACHE": str(tmp_path), "HF_HOME": str(tmp_path)}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("hf://datasets/owner/corpus/train/000000.tar: ")


@pytest.mark.parametrize(
    "name",
    [
        "../out.tar",
        "/tmp/out.tar",
        "a/b.tar",
        "..",
        ".hidden",
        "a\nb",
        "a\x1b[0m",
        "a\\b",
        "a?b",
        "a#b",
        "a%2fb",
        "",
        7,
    ],
)
def test_names_that_lead_elsewhere_are_refused_before_anything_is_fetched(server, tmp_path, name):
    described = json.loads((server.folder / "corpus.json").read_text())
    described["splits"]["train"]["shards"][0]["name"] = name
    (server.folder / "corpus.json").write_text(json.dumps(described))
    for root in (server.root, server.folder):
        with pytest.raises(UserError, match=r"corpus\.json is damaged"):
            Corpus(root)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("sha256", ["../../out", "0" * 63, "Z" * 64, None])
def test_hashes_that_are_none_are_refused(server, tmp_path, sha256):
    described = json.loads((server.folder / "corpus.json").read_text())
    described["splits"]["train"]["shards"][0]["sha256"] = sha256
    (server.folder / "corpus.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"corpus\.json is damaged"):
        Corpus(server.root)
    assert not (tmp_path / "cache").exists()


def test_an_index_that_names_a_file_outside_the_corpus_is_refused(server, tmp_path):
    index = server.folder / "train/index.csv"
    index.write_text(index.read_text().replace("000000.tar", "../../secret.tar"))
    with pytest.raises(UserError, match="secret"):
        Corpus(server.folder).index("train")


def test_the_least_recently_used_files_make_room(server, tmp_path, monkeypatch):
    far = Corpus(server.root)
    names = [name for name in far.files if name.startswith("train/") and name.endswith(".tar")]
    sizes = {name: far.files[name][1] for name in names}
    assert len(names) >= 3
    first, second, third = names[:3]
    for age, name in ((50, first), (40, second)):
        os.utime(far.path(name), (time.time() - age,) * 2)
    far.path(first)  # used again, so the second is now the oldest
    monkeypatch.setenv("VOICEFACE_CACHE_GB", str((sizes[first] + sizes[third] + 100) / 1e9))
    far.path(third)
    assert cached(tmp_path) == sorted(far.files[name][0] for name in (first, third))


def test_a_split_larger_than_the_cache_may_be_is_refused(server, monkeypatch):
    monkeypatch.setenv("VOICEFACE_CACHE_GB", "0.0001")
    with pytest.raises(UserError, match="VOICEFACE_CACHE_GB higher"):
        Corpus(server.root).index("train")
    monkeypatch.setenv("VOICEFACE_CACHE_GB", "much")
    with pytest.raises(UserError, match="VOICEFACE_CACHE_GB=much"):
        Corpus(server.root).index("train")


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set VOICEFACE_CACHE to another folder"):
        Corpus(server.root).index("train")


def test_processes_at_once_fetch_a_file_once(server, origin):
    server.pause = 0.02
    name, sha256, size = shard(Corpus(origin))
    words = [sys.executable, "-c", FETCH, server.root, name, sha256, str(size)]
    processes = [subprocess.Popen(words) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(server.asked) == -(-size // 50_000)


def test_training_batches_are_those_of_the_folder(server, origin):
    def batches(root: str, workers: int) -> list[dict[str, object]]:
        data = VoxVGGDataModule(root, 3, 2, 2, workers=workers, start_method="fork" if workers else None, seed=1)
        found = [*data.train_dataloader(), *data.train_dataloader(), *data.test_dataloader()]
        data.teardown("fit")
        return found

    far, near = batches(server.root, 2), batches(str(origin), 0)
    assert len(far) == len(near) > 3
    for a, b in zip(far, near, strict=True):
        assert a["voice_keys"] == b["voice_keys"]
        assert a["face_keys"] == b["face_keys"]
        assert a["voices"].equal(b["voices"])  # type: ignore[attr-defined]
        assert a["faces"].equal(b["faces"])  # type: ignore[attr-defined]


def test_a_forked_process_that_fetches_leaves_its_parent_the_connection(server):
    asked = server.root + "/train/000000.tar"
    remote._ask(asked, 0, 10)
    process = multiprocessing.get_context("fork").Process(target=_fetch_and_collect, args=(asked,))
    process.start()
    process.join()
    assert process.exitcode == 0
    remote._ask(asked, 20, 30)
    assert [wanted for _, wanted in server.asked] == [
        "bytes=0-9",
        "bytes=10-19",
        "bytes=20-29",
    ]  # none had to ask again


def _fetch_and_collect(asked: str) -> None:
    remote._ask(asked, 10, 20)
    gc.collect()


def test_a_worker_that_cannot_fetch_stops_the_run_in_one_line(server):
    data = VoxVGGDataModule(server.root, 3, workers=1, start_method="fork")
    data.bundles("test")
    (server.folder / "test/000000.tar").unlink()
    with pytest.raises(UserError, match=r"test/000000.tar: not there") as caught:
        list(data.test_dataloader())
    data.teardown("test")
    assert "\n" not in str(caught.value)


@pytest.mark.slow(reason="a server of its own, of a library that the quick tier does without")
def test_an_s3_compatible_server(origin, tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "VOICEFACE_CACHE": str(tmp_path / "cache"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(remote, "DELAYS", (0.01,))
        monkeypatch.setattr(remote, "CHUNK", 50_000)
        import s3fs

        s3 = s3fs.S3FileSystem()
        s3.mkdir("bucket")
        s3.put(str(origin), "bucket/tones", recursive=True)
        assert everything(Corpus("s3://bucket/tones")) == everything(Corpus(origin))
        monkeypatch.setenv("VOICEFACE_CACHE", str(tmp_path / "empty"))
        # A server of forks would have the environment of whichever test started it.
        data = VoxVGGDataModule("s3://bucket/tones", 3, workers=1, start_method="spawn")
        assert len(list(data.test_dataloader())) > 0
        data.teardown("test")
        with pytest.raises(UserError, match=r"no corpus\.json there"):
            Corpus("s3://bucket/nothing")
    finally:
        server.stop()
