"""The requirements of a corpus of features (`voiceface extract`) on a run's method and options."""

from collections.abc import Mapping
from typing import Any

from voiceface.data.corpus.shards import Corpus
from voiceface.encoders.face_features import FaceFeatures
from voiceface.encoders.voice_features import VoiceFeatures
from voiceface.utils.errors import UserError

# Options that change pixels and samples, which features have none of.
CHANGES = ("flip", "voice_seconds_max", "voice_speed", "face_jitter", "fixed_crops", "cache_frozen")


def check_features(corpus: Corpus, method: Any, options: Mapping[str, Any]) -> None:
    """Refuse features for a method that takes voices and faces, the reverse, and features of other networks.

    Args:
        corpus: Of features, or of voices and faces.
        method: The method.
        options: The data module's options by name.

    Raises:
        UserError: They do not fit.
    """
    features = corpus.description.get("features")
    for kind, taken in (("voice", VoiceFeatures), ("face", FaceFeatures)):
        encoder = getattr(method, f"{kind}_encoder", None)
        if features is None:
            if isinstance(encoder, taken):
                raise UserError(
                    f"--data {corpus.root}: holds {kind}s, the model takes features of {encoder.encoder}; "
                    "give a corpus of features, which `voiceface extract` makes"
                )
            continue
        there = features[f"{kind}s"]
        if not isinstance(encoder, taken):
            raise UserError(
                f"--data {corpus.root}: holds features of {there['encoder']}, the model takes {kind}s; train "
                f"with --encoders features, or give the corpus of {features['of']['name']} that they are of"
            )
        for name in ("dim", "encoder", "weights"):
            if getattr(encoder, name) != there[name]:
                raise UserError(
                    f"--data {corpus.root}: its {kind}s are features with {name} {there[name]}, the model's "
                    f"have {getattr(encoder, name)}; give features of the same network"
                )
    if features is not None:
        on = [name for name in CHANGES if options[name]]
        if on:
            raise UserError(
                f"--data.{on[0]} {options[on[0]]}: does not apply to the features of {corpus.root}; leave it out"
            )
        if method.hparams.get("test_seconds") is not None:
            raise UserError(
                f"--model.test_seconds {method.hparams['test_seconds']}: the features of {corpus.root} are of "
                "whole voices; give null"
            )
