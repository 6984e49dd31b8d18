"""What `voiceface export` writes, run by onnxruntime and by torch.export, against the method itself."""

import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from packaging.version import Version
from torch import Tensor

from voiceface.checkpoints.export import METADATA, to_bytes
from voiceface.checkpoints.weights import load_checkpoint, read_config, save_checkpoint
from voiceface.cli import build_parser
from voiceface.cli.checkpoints import run_export
from voiceface.encoders.voice_small import VoiceSmall
from voiceface.methods.base import Method
from voiceface.methods.pins import PINs
from voiceface.methods.svhf import SVHF
from voiceface.methods.trinet import TriNet
from voiceface.utils.errors import UserError

exports_voice_small = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.9"), reason="torch 2.8 refuses voice_small's lengths (docs/inference.md)"
)

SMALL = {"face_encoder": "face_small", "voice_encoder": "voice_small"}
# Voices in a batch, and samples of the longest: shorter than a window, a second, 2.5 s, 10 s, and odd numbers.
VOICES = [(1, 1), (1, 700), (4, 15_999), (2, 16_000), (3, 40_000), (1, 160_000), (5, 52_347)]
Run = Callable[..., Tensor]


def made(kind: type[Method], **options: object) -> Method:
    """A method with statistics of its own in every batch norm, as training leaves them."""
    torch.manual_seed(0)
    method = kind(**(SMALL | options)).eval()
    for name, buffer in method.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    method.voice_encoder.crops = False
    return method


def voices(count: int, samples: int) -> tuple[Tensor, Tensor]:
    """Noise of many loudnesses, each utterance of its own length, the rest silence."""
    torch.manual_seed(samples)
    waves = torch.rand(count, 1) * (2 * torch.rand(count, samples) - 1)
    lengths = torch.randint(1, samples + 1, (count,))
    lengths[0] = samples
    return waves * (torch.arange(samples) < lengths[:, None]), lengths


def by_onnx(data: bytes) -> Run:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return lambda *inputs: torch.from_numpy(
        session.run(None, dict(zip(names, [i.numpy() for i in inputs], strict=True)))[0]
    )


def by_torch(data: bytes) -> Run:
    return torch.export.load(io.BytesIO(data)).module()


def furthest(run: Run, method: Method, part: str, batches: Sequence[tuple[int, int]] = VOICES) -> float:
    """The largest difference from the method's own embeddings, of all batches."""
    worst = 0.0
    with torch.inference_mode():
        for count, samples in batches:
            if part == "voice":
                waves, lengths = voices(count, samples)
                ours, theirs = method.embed_voice(waves, lengths), run(waves, lengths)
            else:
                size = method.face_encoder.size
                faces = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
                ours, theirs = method.embed_face(faces), run(faces)
            assert theirs.dtype == torch.float32
            assert theirs.shape == ours.shape
            assert ours.abs().max() > 1e-3
            worst = max(worst, float((ours - theirs).abs().max()))
    return worst


@pytest.mark.slow(reason="the exporter traces a voice network; the quick tests export a face network")
@exports_voice_small
def test_onnxruntime_gives_the_embeddings_of_voices() -> None:
    method = made(TriNet, test_seconds=2.5)
    assert furthest(by_onnx(to_bytes(method, "voice", "onnx", {})), method, "voice") < 1e-4


LARGE = pytest.mark.slow(reason="the exporter goes through a network of a paper's size")


@pytest.mark.parametrize(
    "network",
    [
        pytest.param("voice_soundnet8", marks=LARGE),
        pytest.param("voice_thin_resnet34", marks=LARGE),
        pytest.param("voice_vggvox", marks=LARGE),
        pytest.param("voice_dimnet", marks=LARGE),
    ],
)
def test_onnxruntime_gives_the_embeddings_of_the_papers_voice_networks(network: str) -> None:
    """An odd and an even number of frames, shorter and longer than what is repeated or cut."""
    method = made(TriNet, voice_encoder=network, test_seconds=None)
    run = by_onnx(to_bytes(method, "voice", "onnx", {}))
    assert furthest(run, method, "voice", [(1, 1), (3, 40_000), (2, 20_160), (1, 180_001)]) < 1e-4


def test_torch_export_gives_the_embeddings_of_faces() -> None:
    method = made(SVHF)  # its stream before fusion
    assert furthest(by_torch(to_bytes(method, "face", "torch", {})), method, "face") < 1e-5


def words(*given: object) -> int:
    """`voiceface export ...`, in this process."""
    return run_export(build_parser().parse_args(["export", *map(str, given)]))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    data = {"corpus": "tones", "version": "1", "split": "train"}
    save_checkpoint(made(PINs, face_margin=1.25), folder, "pins", data)
    return folder


def test_a_face_file_gives_the_embeddings_and_says_what_it_is_and_nothing_of_the_machine(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words(checkpoint, tmp_path / "out", "--part", "face")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["face.onnx"]
    assert "face.onnx" in capsys.readouterr().out
    data = (tmp_path / "out" / "face.onnx").read_bytes()
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["sha256"] == read_config(checkpoint)["sha256"]
    assert (said["recipe"], said["part"], said["space"]) == ("pins", "face", "cosine")
    assert (said["size"], said["margin"]) == ("64", "1.25")
    assert (said["corpus"], said["licence"]) == ("tones", "LicenseRef-that-of-the-training-data")
    assert furthest(by_onnx(data), load_checkpoint(checkpoint), "face") < 1e-4
    (faces,) = model.graph.input
    assert [dim.dim_param or dim.dim_value for dim in faces.type.tensor_type.shape.dim] == ["batch", 3, 64, 64]
    assert str(Path(torch.__file__).parent).encode() not in data
    assert str(Path(__file__).parents[2]).encode() not in data


@exports_voice_small
@pytest.mark.slow(reason="exports the voice network once more; the quick ones export it to ONNX, and a face file")
def test_a_voice_file_of_torch_gives_the_embeddings_holds_one_encoder_and_says_what_it_is(
    checkpoint: Path, tmp_path: Path
) -> None:
    words(checkpoint, tmp_path, "--part", "voice", "--format", "torch")
    (path,) = tmp_path.iterdir()
    extra = {METADATA: ""}
    program = torch.export.load(path, extra_files=extra)
    said = json.loads(extra[METADATA])
    assert (said["part"], said["sample_rate"], said["sha256"]) == ("voice", "16000", read_config(checkpoint)["sha256"])
    assert furthest(program.module(), load_checkpoint(checkpoint), "voice") < 1e-5
    assert not [name for name in program.state_dict if "face_encoder" in name]
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()


def test_a_network_whose_graph_looks_at_values_is_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(made(TriNet), tmp_path / "checkpoint", "trinet", {"corpus": "tones"})
    forward = VoiceSmall.forward
    monkeypatch.setattr(VoiceSmall, "forward", lambda self, waves, own: forward(self, waves[:, : int(own.max())], own))
    with pytest.raises(UserError, match="voice_small: this network cannot be exported to torch") as refused:
        words(tmp_path / "checkpoint", tmp_path / "out", "--format", "torch")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_without_the_extra_onnx_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"pip install 'voiceface\[export\]'"):
        words(tmp_path, tmp_path / "out")
