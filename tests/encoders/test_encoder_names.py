import subprocess
import sys
from pathlib import Path

import pytest

import voiceface.encoders
from voiceface.encoders import FaceEncoder, VoiceEncoder, face_encoder, list_encoders, voice_encoder
from voiceface.utils.errors import UserError


def test_listing_is_the_folder_and_needs_no_torch() -> None:
    program = (
        "import sys; from voiceface.encoders import list_encoders; n = list_encoders(); "
        "assert 'torch' not in sys.modules; print(*n['face'], '|', *n['voice'])"
    )
    root = Path(voiceface.encoders.__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    ).stdout
    faces = ["face_dimnet", "face_lresnet50_ir", "face_seresnet50", "face_small", "face_vggm"]
    voices = ["voice_small", "voice_thin_resnet34"]
    names = list_encoders()
    assert set(names) == {"face", "voice"}
    assert set(faces) <= set(names["face"])
    assert set(voices) <= set(names["voice"])
    assert answer.split() == [*names["face"], "|", *names["voice"]]


def test_small_encoders_are_built_by_name() -> None:
    assert isinstance(face_encoder("face_small"), FaceEncoder)
    assert isinstance(voice_encoder("voice_small"), VoiceEncoder)


def test_unknown_names_get_the_nearest_and_the_list() -> None:
    with pytest.raises(UserError, match=r"did you mean 'face_small'.*face_vggm"):
        face_encoder("face_smal")
    with pytest.raises(UserError, match="did you mean 'voice_thin_resnet34'"):
        voice_encoder("thin_resnet34")
    with pytest.raises(UserError, match=r"no voice encoder '\.\./x'; there are: .*voice_small"):
        voice_encoder("../x")
    with pytest.raises(UserError, match="no face encoder 'voice_small'"):
        face_encoder("voice_small")


def test_unknown_options_are_named() -> None:
    with pytest.raises(UserError, match="voice_thin_resnet34 has no option 'cluster'; it takes: clusters, ghosts"):
        voice_encoder("voice_thin_resnet34", cluster=8)
    with pytest.raises(UserError, match="face_small has no option 'depth'; it takes: none"):
        face_encoder("face_small", depth=3)


def test_other_attributes_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="Encoder"):
        voiceface.encoders.Encoder  # noqa: B018
