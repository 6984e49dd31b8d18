"""Corpora that somebody else made: JSON, FLAC, JPEG and arrays of numbers are read, and nothing is extracted."""

import io
import json
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from safety_support import Evil, canary, nested, nothing_ran, payload, refused, watched

from voiceface.data.corpus.bundles import encode_flac, encode_jpeg
from voiceface.data.corpus.shards import Corpus, DamagedError
from voiceface.data.stream.batches import EvaluationBatches
from voiceface.data.stream.sampling import Sampling

VOICE = encode_flac(np.arange(16_000, dtype=np.int16))
FACE = encode_jpeg(np.zeros((40, 40, 3), np.uint8))
Members = list[tuple[str, bytes]]


@pytest.fixture
def root(make_corpus: Callable[..., Path]) -> Path:
    return make_corpus([("test", 1, 1), ("train", 1, 1)])


def described(members: Members, **more: object) -> dict[str, object]:
    """The JSON that stands before the members of a bundle."""
    kinds = {
        kind: [{"key": f"p000/{n}", "name": n, "bytes": len(b)} for n, b in members if n.startswith(kind[0])]
        for kind in ("voices", "faces")
    }
    return {"identity": "p000", **kinds, **more}


def write(root: Path, members: Members, header: object = None, extra: tuple[tarfile.TarInfo, ...] = ()) -> Corpus:
    """Put one bundle in place of the corpus' own, and other members behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header or described(members)).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in [("0000000-000.json", text), *sorted(members)]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        size = archive.offset
        for info in extra:
            archive.addfile(info)
    (root / "test/000000.tar").write_bytes(buffer.getvalue())
    counts = [sum(name.startswith(kind) for name, _ in members) for kind in "vf"]
    row = ["000000.tar", "0000000-000", "p000", 0, size, *counts]
    (root / "test/index.csv").write_text(
        "shard,key,identity,offset,bytes,voices,faces\n" + ",".join(map(str, row)) + "\n"
    )
    return Corpus(root)


def batch(corpus: Corpus) -> dict[str, object]:
    """The only batch, as `test`, `embed` and `extract` read it."""
    sampling = Sampling(1, 1, 1, 1.0, 40, 1.25, False, 0)
    return EvaluationBatches(corpus, "test", corpus.index("test"), sampling, "stop", 8)[0]


def test_a_sound_bundle_is_read(root: Path, tmp_path: Path):
    """What the other tests break."""
    with watched() as watch:
        read = batch(write(root, [("v00.flac", VOICE), ("f00.jpg", FACE)]))
    assert "error" not in read
    assert read["voices"].shape == (1, 16_000)
    assert read["faces"].shape == (1, 3, 40, 40)
    nothing_ran(watch, tmp_path)


def pickles(folder: Path) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(Evil(folder), buffer)
    array = io.BytesIO()
    np.save(array, np.array([Evil(folder)], object), allow_pickle=True)
    bare = pickle.dumps(Evil(folder))
    return {"pkl": bare, "pyd": bare, "pickle": bare, "pth": buffer.getvalue(), "npy": array.getvalue()}


@pytest.mark.parametrize("suffix", ["pkl", "pyd", "pickle", "pth", "npy"])
@pytest.mark.parametrize("kind", ["v", "f"])
def test_members_are_decoded_by_no_name_of_theirs(root: Path, tmp_path: Path, kind: str, suffix: str):
    member = (f"{kind}01.{suffix}", pickles(tmp_path)[suffix])
    corpus = write(root, [("v00.flac", VOICE), ("f00.jpg", FACE), member])
    with watched() as watch:
        read = batch(corpus)
    assert f"p000/{member[0]} is damaged" in str(read["error"])
    nothing_ran(watch, tmp_path)


def test_webdataset_itself_would_unpickle(root: Path, tmp_path: Path):
    """Why its own decoding is not used."""
    import webdataset as wds

    write(root, [("v00.pyd", pickles(tmp_path)["pyd"])])
    with watched() as watch, pytest.MonkeyPatch.context() as patch:
        patch.delenv("WDS_SECURE", raising=False)
        list(wds.WebDataset(str(root / "test/000000.tar"), shardshuffle=False, empty_check=False).decode())
    assert watch.ran
    assert canary(tmp_path).exists()


def test_a_feature_is_no_pickle(tmp_path: Path):
    from voiceface.data.corpus.clips import cut_feature

    for dtype in ("float32", "object"):
        with watched() as watch, pytest.raises(ValueError, match=r"not an \.npy|OBJECT|object"):
            cut_feature(pickles(tmp_path)["npy"], 1, dtype)
        nothing_ran(watch, tmp_path)


def test_a_face_is_decoded_by_no_other_program(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow hands EPS to Ghostscript."""
    eps = io.BytesIO()
    Image.new("RGB", (40, 40)).save(eps, "EPS")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {canary(tmp_path)}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with watched() as watch, pytest.raises(Exception, match=r"(?i)eps|ghostscript|No such file|cannot identify"):
        Image.open(io.BytesIO(eps.getvalue())).load()
    assert watch.ran, "Pillow alone runs it"
    canary(tmp_path).unlink(missing_ok=True)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with watched() as watch:
        read = batch(write(root, [("f00.jpg", eps.getvalue()), ("v00.flac", VOICE)]))
    assert "face p000/f00.jpg is damaged" in str(read["error"])
    nothing_ran(watch, tmp_path)


def test_a_picture_or_a_sound_of_terabytes_is_refused(root: Path):
    wide = bytearray(FACE)
    place = wide.index(b"\xff\xc0")  # the frame header: height and width follow its length and precision
    wide[place + 5 : place + 9] = struct.pack(">HH", 65_500, 65_500)
    read = batch(write(root, [("f00.jpg", bytes(wide)), ("v00.flac", VOICE)]))
    assert "face p000/f00.jpg is damaged" in str(read["error"])
    long = bytearray(VOICE)
    long[21] |= 0x0F  # of the 36 bits that count the samples the first four, and the others
    long[22:26] = b"\xff\xff\xff\xff"
    read = batch(write(root, [("f00.jpg", FACE), ("v00.flac", bytes(long))]))
    assert "voice p000/v00.flac is damaged" in str(read["error"])


def odd_members() -> tuple[tarfile.TarInfo, ...]:
    """Members that would write elsewhere, or be something else than files, if a shard were unpacked."""
    found = []
    for name, kind, leads in [
        ("../outside", tarfile.REGTYPE, ""),
        ("/tmp/../outside", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "/etc/passwd"),
        ("link/../../outside", tarfile.REGTYPE, ""),
        ("hard", tarfile.LNKTYPE, "../corpus.json"),
        ("device", tarfile.CHRTYPE, ""),
        ("block", tarfile.BLKTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("folder/..", tarfile.DIRTYPE, ""),
    ]:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, leads
        found.append(info)
    return tuple(found)


def test_members_that_lead_elsewhere_are_passed_over(root: Path, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    corpus = write(root, [("f00.jpg", FACE), ("v00.flac", VOICE)], extra=odd_members())
    with watched() as watch:
        read = batch(corpus)
        clips = [member.name for _, member, _ in corpus.clips("test")]
    assert "error" not in read
    assert clips == ["v00.flac", "f00.jpg"]
    assert "/etc/passwd" not in watch.opened
    nothing_ran(watch, tmp_path)
    assert watch.written == []
    assert sorted(tmp_path.rglob("*")) == before


def test_an_index_cannot_make_them_bundles(root: Path, tmp_path: Path):
    write(root, [("f00.jpg", FACE)], extra=odd_members())
    with tarfile.open(root / "test/000000.tar") as archive:
        places = {info.name: info.offset for info in archive.getmembers()}
    for name, offset in places.items():
        if name == "0000000-000.json":
            continue
        for key in (name, name.removesuffix(".json")):
            (root / "test/index.csv").write_text(
                f"shard,key,identity,offset,bytes,voices,faces\n000000.tar,{key},p000,{offset},512,1,1\n"
            )
            with watched() as watch:
                read = batch(Corpus(root))
            assert "is damaged" in str(read["error"])
            assert "/etc/passwd" not in watch.opened
            nothing_ran(watch, tmp_path)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..", "../test/000000.tar", "/etc/passwd", "a/b.tar", "-x"])
def test_names_of_shards_stay_in_the_corpus(root: Path, tmp_path: Path, name: str):
    description = json.loads((root / "corpus.json").read_text())
    index = (root / "test/index.csv").read_text()
    (root / "test/index.csv").write_text(index.replace("000000.tar", name))
    assert "index.csv is damaged" in refused(tmp_path, lambda: Corpus(root).index("test"))
    description["splits"]["test"]["shards"][0]["name"] = name
    (root / "corpus.json").write_text(json.dumps(description))
    assert "corpus.json is damaged" in refused(tmp_path, lambda: Corpus(root))


def test_keys_with_dots_are_names_and_no_paths(root: Path, tmp_path: Path):
    members = [("f00.jpg", FACE), ("v00.flac", VOICE)]
    header = described(members)
    header["voices"][0]["key"] = header["faces"][0]["key"] = "../../outside"
    header["voices"][0]["video"] = header["voices"][0]["source"] = "/etc/passwd"
    with watched() as watch:
        read = batch(write(root, members, header))
    assert read["voice_keys"] == ["../../outside"]
    assert "/etc/passwd" not in watch.opened
    nothing_ran(watch, tmp_path)


VALUES = [{}, [], None, "x", -1, 1.5, True, 10**400, float("nan"), float("inf"), [[]], {"a": 1}]


def test_a_header_of_odd_values_is_damaged_and_nothing_worse(root: Path, tmp_path: Path):
    """Every field, with values of every kind; only what a sound corpus may hold is read."""
    members = [("f00.jpg", FACE), ("v00.flac", VOICE)]
    whole = described(members)
    headers: list[object] = [b"", b"{", b"\x80\x04.", b"null", nested().encode(), b'{"a":' + nested().encode() + b"}"]
    headers += [{**whole, key: value} for key in whole for value in VALUES]
    for field in ("key", "name", "bytes", "video", "source", "observed", "landmarks"):
        headers += [
            {**whole, "voices": [{**whole["voices"][0], field: value}]}  # type: ignore[index]
            for value in VALUES
        ]
    refusals = 0
    for header in headers:
        with watched() as watch:
            read = batch(write(root, members, header))
        nothing_ran(watch, tmp_path)
        refusals += "error" in read
        assert len(str(read.get("error", "")).splitlines()) <= 1
    assert refusals > 60


def test_sizes_that_lie_are_damage(root: Path):
    write(root, [("f00.jpg", FACE), ("v00.flac", VOICE)])
    index, shard = root / "test/index.csv", root / "test/000000.tar"
    right, content = index.read_text(), shard.read_bytes()
    head, row = right.splitlines()
    cells = dict(zip(head.split(","), row.split(","), strict=True))
    for lie in ({"offset": 10**18}, {"offset": 2**63 - 1}, {"bytes": 10**18}, {"bytes": 0}, {"bytes": 100}):
        index.write_text(f"{head}\n{','.join(str({**cells, **lie}[name]) for name in cells)}\n")
        assert "error" in batch(Corpus(root)), lie
    info = tarfile.TarInfo("0000000-000.json")
    for size, claimed in ((8**11 - 1, 34_816), (8**11 - 1, 10**18)):
        info.size = size
        shard.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + content[512:])
        index.write_text(f"{head}\n{','.join(str({**cells, 'bytes': claimed}[name]) for name in cells)}\n")
        corpus = Corpus(root)
        with pytest.raises(DamagedError):
            corpus.members("test", corpus.index("test")[0])


def test_a_description_of_odd_values_is_refused(root: Path, tmp_path: Path):
    """In one line, whatever stands where."""
    path = root / "corpus.json"
    whole = json.loads(path.read_text())
    texts = ["", "null", "[]", nested(), '{"schema": 1, "name": ' + nested() + "}", "\ufeff{}", "{'schema': 1}"]
    for text in texts:
        path.write_text(text)
        assert "--data" in refused(tmp_path, lambda: Corpus(root))
    for key in ("schema", "name", "face_size", "face_margin", "splits", "identities_sha256"):
        for value in VALUES:
            if (key, value) in (("name", "x"), ("face_margin", 1.5), ("schema", 1)):
                continue  # right, or equal to what is
            path.write_text(json.dumps({**whole, key: value}))
            assert "corpus.json" in refused(tmp_path, lambda: Corpus(root)), (key, value)


@pytest.mark.parametrize("address", ["pipe:touch {}", "pipe:touch {} ", "fd:0"])
def test_addresses_run_no_commands(tmp_path: Path, address: str):
    line = refused(tmp_path, lambda: Corpus(address.format(canary(tmp_path))))
    assert "refused" in line
    assert not canary(tmp_path).exists()
    assert payload(tmp_path)
