"""Scoring of an embeddings file, as written by `voiceface score`."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voiceface.evaluation import results as result_file
from voiceface.evaluation.embeddings import Embeddings
from voiceface.utils.errors import UserError
from voiceface.utils.progress import new_bar

if TYPE_CHECKING:
    from voiceface.scores.trial_lists import Trials

MODEL = {"method": "embeddings", **dict.fromkeys(("arguments", "parameters", "checkpoint", "training_data"))}
DATA = {"corpus": None, "version": None, "split": None, "synthetic": None, "skipped": 0}
GALLERIES = ("trinet", "kim")
# Names of other scores, which a list must not have.
RESERVED = re.compile(
    r"exact|clip_weighted|whole_split|(same|cross)_video|sampled|kim_probe|(trinet|kim|drl|pins)(_.*)?|voices=.*"
)

Identities = Mapping[str, Mapping[str, str]]
Records = list[dict[str, Any]]


def score_embeddings(
    embeddings: Embeddings,
    name: str,
    identities: Identities | None = None,
    lists: Sequence[Path] = (),
    protocols: Sequence[str] = (),
    strata: Sequence[str] | None = None,
    level: float = 0.95,
    seed: int = 0,
    note: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Score embeddings in every way they allow.

    Args:
        embeddings: Embeddings from `read_embeddings`.
        name: Name of the model.
        identities: Attributes from `read_identities`; None: those in the embeddings.
        lists: Trial lists.
        protocols: Protocols of papers to run besides the exact scores: trinet, kim, drl, pins.
        strata: Names of strata; None: U and all whose attributes are known.
        level: Confidence level, in (0, 1).
        seed: Seed of all draws: protocols, galleries, joint scores; at least 0.
        note: Receives one line for each thing that a reader of the scores should know.

    Returns:
        The content of a result file. Besides the sections of every result: `lists`, the coverage of each trial list,
        and `absent`, scores for which there are too few clips, with the reason.

    Raises:
        UserError: No person is in the table of identities, fewer than two people have both modalities, a stratum is
            unknown, or more than 1 % of a trial list has no embedding.
    """
    from voiceface.scores.trial_lists import read_trial_files

    if not 0.0 < level < 1.0:
        raise UserError(f"--level {level}: give a fraction between 0 and 1, such as 0.95")
    if seed < 0:
        raise UserError(f"--seed {seed}: give a whole number from 0 up")
    people = {alias: person["identity"] for alias, person in (identities or {}).items()}
    voices, faces = (
        [people.get(n, n) for n in names.tolist()] for names in (embeddings.voice_identity, embeddings.face_identity)
    )
    attributes = embeddings.about.get("identities", {})
    if identities is not None:
        attributes = {people[n]: {k: v for k, v in row.items() if k != "identity"} for n, row in identities.items()}
    counts = _check_people(voices, faces, attributes, note)
    _check_strata(strata, [attributes.get(n, {}) for n in {*voices, *faces}])
    similarity: Any = embeddings.similarity
    if similarity is None:
        note("the embeddings do not say how they compare: by cosine here, --similarity chooses")
        similarity = "cosine"
    tables = embeddings.voices, voices, embeddings.faces, faces
    run = _Run(embeddings, tables, attributes, people, similarity, level, seed)

    # Stages that may be rejected, or are requested by name, come first.
    trial_lists = read_trial_files(lists, people)
    for (title, _), copies in Counter((trials.name, trials.direction) for trials in trial_lists).items():
        if RESERVED.fullmatch(title):
            raise UserError(f"--trials: a list called {title} would be taken for other scores; rename the file")
        if copies > 1:
            raise UserError(f"--trials: {copies} lists are called {title}, by which their scores go; rename one")
    stages: list[tuple[str, Callable[[], Records]]] = []
    stages += [(f"list {trials.name}", partial(run.trial_list, trials)) for trials in trial_lists]
    stages += [(f"protocol {protocol}", partial(run.protocol, protocol)) for protocol in protocols]
    stages += [(f"gallery {kind}", partial(run.gallery, kind)) for kind in GALLERIES if kind not in protocols]
    stages += [("joint scores", run.joint), ("exact scores", partial(run.exact, strata))]
    found: list[Records] = []
    with new_bar() as bar:
        task = bar.add_task("", total=len(stages))
        for what, stage in stages:
            bar.update(task, description=what)
            found.append(stage())
            bar.advance(task)
    records = [record for part in [found[-1], *found[:-1]] for record in part]
    return {
        "schema": result_file.SCHEMA,
        "model": {**MODEL, **embeddings.about.get("model", {}), "recipe": name},
        "data": {
            **DATA,
            **embeddings.about.get("data", {}),
            **counts,
            "clips_sha256": result_file.data_hash([*embeddings.voice_key, *embeddings.face_key]),
            "people_sha256": result_file.people_hash(embeddings.voice_key, voices, embeddings.face_key, faces),
            "voices": len(voices),
            "faces": len(faces),
            "similarity": similarity if isinstance(similarity, str) else "matrix",
        },
        "environment": {**result_file.environment(), "seed": seed},
        "scores": records,
        "roc": result_file.roc_curves(records),
        "examples": run.examples(),
        "lists": run.lists,
        "absent": run.absent,
    }


@dataclass
class _Run:
    """The scores of one model; `lists` and `absent` fill up as the scores are computed."""

    embeddings: Embeddings
    tables: tuple[NDArray[Any] | None, list[str], NDArray[Any] | None, list[str]]
    attributes: Identities
    people: Mapping[str, str]
    similarity: Any
    level: float
    seed: int
    lists: Records = field(default_factory=list)
    absent: list[dict[str, str]] = field(default_factory=list)

    def exact(self, strata: Sequence[str] | None) -> Records:
        from voiceface.scores import score

        voices, faces = (
            None if videos is None else videos.tolist()
            for videos in (self.embeddings.voice_video, self.embeddings.face_video)
        )
        return score(
            *self.tables,
            self.attributes,
            self.similarity,
            strata,
            self.level,
            voice_video=voices,
            face_video=faces,
        )

    def examples(self) -> Records:
        from voiceface.evaluation.examples import embedding_rows, matrix_rows, ranked_examples

        voices, voice_people, faces, face_people = self.tables
        if isinstance(self.similarity, np.ndarray):
            rows = matrix_rows(self.similarity)
        else:
            assert voices is not None
            assert faces is not None
            rows = embedding_rows(voices, faces, self.similarity)
        keys = {"voice": self.embeddings.voice_key.tolist(), "face": self.embeddings.face_key.tolist()}
        return ranked_examples(rows, keys, {"voice": voice_people, "face": face_people})

    def trial_list(self, trials: "Trials") -> Records:
        from voiceface.scores.trials import score_trials

        voices, voice_identity, faces, face_identity = self.tables
        scored = score_trials(
            trials,
            voices,
            voice_identity,
            self.embeddings.voice_key.tolist(),
            faces,
            face_identity,
            self.embeddings.face_key.tolist(),
            self.similarity,
            self.level,
            self.people,
        )
        listed = {name: getattr(trials, name) for name in ("name", "source", "kind", "direction")}
        listed |= {name: getattr(scored, name) for name in ("rows", "scored", "positives", "missing")}
        self.lists.append(listed)
        return scored.records

    def protocol(self, name: str) -> Records:
        from voiceface.scores.protocols import missing_parts, protocol_records

        self._miss(missing_parts(name, self.tables[1], self.tables[3]))
        return protocol_records(name, *self.tables, self.attributes, self.similarity, self.level, self.seed)

    def gallery(self, kind: str) -> Records:
        from voiceface.scores.galleries import gallery_records, missing_galleries

        self._miss(missing_galleries(kind, self.tables[1], self.tables[3]))
        return gallery_records(kind, *self.tables, self.similarity, self.level, self.seed)

    def joint(self) -> Records:
        from voiceface.scores.joint import joint_records

        if isinstance(self.embeddings.similarity, np.ndarray):
            self._miss({("joint", d): "a similarity matrix holds no means of clips" for d in ("v2f", "f2v")})
            return []
        return joint_records(*self.tables, self.similarity, level=self.level, seed=self.seed)

    def _miss(self, missing: Mapping[tuple[str, str], str]) -> None:
        self.absent += [{"protocol": p, "direction": d, "reason": reason} for (p, d), reason in missing.items()]


def _check_people(
    voices: Sequence[str], faces: Sequence[str], attributes: Identities, note: Callable[[str], None]
) -> dict[str, int]:
    """Count the people; reject input without any score, and report what a score leaves out."""
    names = sorted({*voices, *faces})
    both = {*voices} & {*faces}
    if len(both) < 2:
        raise UserError(
            f"{len(both)} people have both a voice and a face, a score needs 2 (voices are of {voices[0]!r} ..., "
            f"faces of {faces[0]!r} ...); where one person goes by two ids, give --identities with both"
        )
    unknown = [n for n in names if n not in attributes] if attributes else []
    if len(unknown) == len(names):
        raise UserError(
            f"--identities: none of the {len(names)} people is in the table, not even {names[0]!r}; it has "
            f"{next(iter(attributes))!r} and {len(attributes) - 1} others; use the same ids"
        )
    if unknown:
        note(f"{len(unknown)} of {len(names)} people are not in --identities, such as {unknown[0]}: in stratum U alone")
    single = sorted({*names} - both)
    if single:
        note(
            f"{len(single)} of {len(names)} people lack voices or faces, such as {single[0]}: distractors in retrieval"
        )
    return {"identities": len(names), "one_modality": len(single), "unknown_identities": len(unknown)}


def _check_strata(strata: Sequence[str] | None, attributes: Sequence[Mapping[str, str]]) -> None:
    from voiceface.scores.strata import ATTRIBUTES, GENDERS, stratum_mask

    for stratum in strata or ():
        stratum_mask(stratum, [])  # rejects an unknown stratum
        needed = [] if stratum == "U" else ["gender"] if stratum in GENDERS else [ATTRIBUTES[c] for c in stratum]
        for attribute in needed:
            if not any(person.get(attribute) for person in attributes):
                raise UserError(
                    f"--strata {stratum}: nobody's {attribute} is known; give --identities with that column"
                )
