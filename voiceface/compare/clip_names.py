"""Keys of clips that differ in their folder or their ending alone, so that two results of the same clips seem apart."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voiceface.utils.text import clean

SIDES = {"v2f": ("voice", "face"), "f2v": ("face", "voice")}  # what asks, and what is asked for
Runs = Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]


def keys_differ(results: Runs, others: Runs) -> str:
    """Say that two groups of results may be of the same clips, whose keys differ in their folder or ending alone.

    Result files hold the keys of a few clips alone, those of their ranked examples; two of the same clips are looked
    for among these.

    Args:
        results: `voiceface.compare.table.Group.results` of one group.
        others: That of another group, of other clips by their hash.

    Returns:
        A sentence with an example of each and what to do; empty: no such pair was found.
    """
    for name, key, kind in _examples(results):
        for other, theirs, its_kind in _examples(others):
            if kind == its_kind and key != theirs and same_clip(key, theirs):
                return clean(
                    f"The keys of the clips differ: '{key}' in {name}, '{theirs}' in {other}. If these are the same "
                    "clips, give both the same keys and score again: a corpus' own are paths without their ending, and "
                    "`voiceface clips CORPUS` lists them."
                )
    return ""


def same_clip(key: str, other: str) -> bool:
    """Whether two keys are the same but for their ending, such as `.wav`, and for folders before one of them."""
    first, second = (re.sub(r"\.[A-Za-z]\w{0,4}$", "", one) for one in (key, other))
    return first == second or first.endswith(f"/{second}") or second.endswith(f"/{first}")


def _examples(results: Runs) -> Iterator[tuple[str, str, str]]:
    """Name of the model, key and kind of each clip in the examples of the first result of each model."""
    for name, runs in results.items():
        for example in runs[0][1].get("examples", ()):
            asking, asked = SIDES[example["direction"]]
            yield name, example["query"], asking
            yield name, example["right"], asked
            yield from ((name, one["key"], asked) for one in example["best"])
