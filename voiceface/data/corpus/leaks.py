"""Leaks: people, source files or clips that stand both where a model is trained and where it is tested."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from voiceface.data.corpus.check import StoredClip
from voiceface.data.corpus.shards import Corpus
from voiceface.utils.errors import UserError

IDENTITIES = "identities.txt"  # of a checkpoint folder: who it was trained on, one per line


@dataclass(frozen=True)
class Leak:
    """What a training split shares with a test split.

    Attributes:
        what: identities, source files or identical clips.
        trained: Where it is trained on.
        tested: Where it is tested.
        names: What is shared, sorted; never empty.
    """

    what: str
    trained: str
    tested: str
    names: list[str]

    def __str__(self) -> str:
        return f"{self.tested}: {len(self.names)} {self.what} are in {self.trained} as well, such as {self.names[0]}"


def person_names(corpus: Corpus, identities: Iterable[str]) -> set[str]:
    """Names by which the people of two corpora compare.

    People are who their identities say they are, in every corpus alike. Only those of a synthetic corpus are rendered
    anew for each seed and strength, which therefore belong to the name.
    """
    made = corpus.description["plan"]["made_by"].get("synthetic")
    before = "" if made is None else f"synthetic-{made['seed']}-{made['strength']:g}/"
    return {before + identity for identity in identities}


def identities_of(corpus: Corpus, split: str) -> set[str]:
    """The people of a split, by `person_names`."""
    return person_names(corpus, (n for n, person in corpus.identities.items() if person["split"] == split))


def leaking_identities(trained_on: Iterable[str] | None, corpus: Corpus, split: str) -> list[str] | None:
    """People of a split whom a model was trained on.

    Args:
        trained_on: Their names, by `person_names`; None: not known.
        corpus: The corpus that is tested on.
        split: Its split.

    Returns:
        Their names, sorted; None where it is not known.
    """
    return None if trained_on is None else sorted(identities_of(corpus, split).intersection(trained_on))


def read_training_identities(checkpoint: Path) -> frozenset[str] | None:
    """Who a checkpoint was trained on; None where the folder does not say, as those of version 0.1 do not.

    Raises:
        UserError: The file is no text.
    """
    path = checkpoint / IDENTITIES
    try:
        return frozenset(filter(None, path.read_text("utf-8").split("\n"))) if path.exists() else None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path}: cannot be read as text; copy the checkpoint again") from None


def corpus_leaks(here: Corpus, clips: list[StoredClip], there: Corpus, others: list[StoredClip]) -> list[Leak]:
    """What the training split of either of two corpora shares with the test split of the other.

    Source files compare by the paths that the corpora give, clips by their bytes.

    Args:
        here: A corpus.
        clips: Its clips, from `voiceface.data.corpus.check.check_corpus`.
        there: Another corpus.
        others: Its clips.
    """
    leaks = []
    for (a, trained), (b, tested) in (((here, clips), (there, others)), ((there, others), (here, clips))):
        names = f"{a.root} (train)", f"{b.root} (test)"
        learned = [clip for clip in trained if clip.split == "train"]
        asked = [clip for clip in tested if clip.split == "test"]
        contents = {clip.content for clip in learned}
        shared: dict[str, Iterable[str]] = {
            "identities": identities_of(a, "train") & identities_of(b, "test"),
            "source files": ({clip.source for clip in learned} & {clip.source for clip in asked}) - {""},
            "identical clips": [clip.key for clip in asked if clip.content in contents],
        }
        leaks += [Leak(what, *names, sorted(found)) for what, found in shared.items() if found]
    return leaks


def identical_clips(clips: list[StoredClip]) -> list[str]:
    """Clips of the val and test splits whose bytes stand in another split of the same corpus under another key.

    Returns:
        Pairs of keys, `KEY (test) = KEY (train)`.
    """
    first: dict[bytes, StoredClip] = {}
    for clip in clips:
        first.setdefault(clip.content, clip)
    pairs = ((clip, first[clip.content]) for clip in clips)
    return [f"{a.key} ({a.split}) = {b.key} ({b.split})" for a, b in pairs if a.split != b.split and a.key != b.key]
