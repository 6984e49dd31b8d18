from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import examples

from voiceface.data.prepare.sources.selection import chosen, named
from voiceface.utils.errors import UserError


@dataclass(frozen=True)
class Someone:
    identity: str
    split: str


PEOPLE = [Someone(f"p{i}", split) for i, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 3)]


@settings(deadline=None, max_examples=examples(40))
@given(
    st.lists(st.sampled_from(["train", "val", "test"]), min_size=1, max_size=20), st.integers(min_value=1, max_value=25)
)
def test_a_limit_keeps_order_and_fills_the_splits_evenly(splits: list[str], limit: int):
    people = [Someone(f"p{i}", split) for i, split in enumerate(splits)]
    left = chosen(people, limit)
    assert len(left) == min(limit, len(people))
    assert left == [p for p in people if p in left]
    for split in set(splits):
        ours = [p for p in people if p.split == split]
        kept = [p for p in left if p.split == split]
        assert kept == ours[: len(kept)]
        others = max(sum(p.split == other for p in left) for other in set(splits))
        assert len(kept) in (len(ours), others, others - 1)


def test_named_people_and_then_a_limit():
    assert chosen(PEOPLE) == PEOPLE
    assert chosen(PEOPLE, only="p7, p0,p1,p0") == [PEOPLE[0], PEOPLE[1], PEOPLE[7]]
    assert chosen(PEOPLE, 2, "p7,p0,p1") == [PEOPLE[0], PEOPLE[7]]


@pytest.mark.parametrize(
    "text", ["p1\np4\n\n", "﻿p1\r\np4\r\n", "identity,age\np1,4\np4,5\n", "age;Identity\n4;p1\n5;p4\n"]
)
def test_a_file_names_people(tmp_path: Path, text: str):
    path = tmp_path / "who.csv"
    path.write_text(text, "utf-8")
    assert chosen(PEOPLE, only=str(path)) == [PEOPLE[1], PEOPLE[4]]


def test_mistakes(tmp_path: Path):
    with pytest.raises(UserError, match="--limit 0: give 1 or more"):
        chosen(PEOPLE, 0)
    with pytest.raises(UserError, match="--only-identities: p99 and 1 more not among the 11 people"):
        chosen(PEOPLE, only="p1,p99,p98")
    with pytest.raises(UserError, match="--only-identities: p99 not among"):
        chosen(PEOPLE, only="p99")
    with pytest.raises(UserError, match="names nobody"):
        named(" , ")
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        named(str(tmp_path / "x"))
