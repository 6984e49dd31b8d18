"""The arguments of `voiceface fit` for a corpus of features; does not import torch for a corpus in a folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voiceface.utils.errors import UserError
from voiceface.utils.files import read_json


def features_of(root: str) -> dict[str, Any] | None:
    """Read a corpus's description of its features.

    Args:
        root: Folder or URL of the corpus.

    Returns:
        None if it has voices and faces, or if it cannot be read, which the data module will report.

    Raises:
        UserError: The description is not in the form written by `voiceface extract`, or the URL cannot be read.
    """
    if "://" in root:
        from voiceface.data.corpus.shards import Corpus

        features = Corpus(root).description.get("features")
    else:
        try:
            features = read_json(Path(root) / "corpus.json").get("features")
        except (OSError, ValueError):
            return None
    if features is None:
        return None
    try:
        dims = [int(features[kind]["dim"]) for kind in ("voices", "faces")]
        whole = min(dims) > 0 and features["dtype"] in ("float32", "float16") and features["of"]["name"]
        whole = whole and all(
            isinstance(features[k][n], str) for k in ("voices", "faces") for n in ("encoder", "weights")
        )
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError(f"--data {root}: corpus.json is damaged (its features); extract it again")
    return dict(features)


def features_fit(features: dict[str, Any] | None, encoders: str, root: str, rest: Sequence[str]) -> None:
    """Reject features for networks that take voices and faces, the reverse, and options without effect on features.

    Args:
        features: Result of `features_of`.
        encoders: Value of `--encoders`.
        root: The corpus, for messages.
        rest: Words for LightningCLI.

    Raises:
        UserError: They do not match.
    """
    if features is None:
        if encoders == "features":
            raise UserError(
                f"--encoders features: {root} holds voices and faces; give --data a corpus of features, which "
                "`voiceface extract` makes"
            )
        return
    if encoders != "features":
        raise UserError(f"--encoders {encoders}: {root} holds features, which no network takes; leave --encoders out")
    for name in ("voice_seconds", "voice_seconds_max", "voice_speed", "face_jitter", "flip"):
        if any(word.partition("=")[0] == f"--data.{name}" for word in rest):
            raise UserError(f"--data.{name}: does not apply to features, which {root} holds; leave it out")


def widths(features: dict[str, Any] | None) -> list[str]:
    """Build the words that describe the features to their encoders."""
    if features is None:
        return []
    options = {k: {n: features[f"{k}s"][n] for n in ("dim", "encoder", "weights")} for k in ("face", "voice")}
    return [f"--model.{kind}_options={json.dumps(values)}" for kind, values in options.items()]
