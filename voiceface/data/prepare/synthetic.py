"""`voiceface prepare synthetic`: render people, and store what an ideal observer would know."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from voiceface.data.corpus.bundles import Clip, Person, encode_flac, encode_jpeg
from voiceface.data.prepare.engine.build import LOCAL, Bundling, CorpusOptions, Engine, Summary, build
from voiceface.data.synthetic import SyntheticOptions, person
from voiceface.data.synthetic.face import FACE_MARGIN, FACE_SIZE, face_clip
from voiceface.data.synthetic.voice import voice_clip
from voiceface.utils.errors import UserError
from voiceface.utils.seeds import seeded

VAL_SHARE, TEST_SHARE = 1 / 12, 1 / 4


@dataclass(frozen=True)
class SyntheticJob:
    """One person to render: options of the corpus, number of the person, and the split."""

    options: SyntheticOptions
    index: int
    split: str

    @property
    def clips(self) -> int:
        """Clips to render."""
        return self.options.voices + self.options.faces


def render(job: SyntheticJob, videos: int = 0) -> Person:
    """Render one person's voices and faces.

    Args:
        job: The person.
        videos: Say that the clips come from so many videos, in turn. They share no more than other clips of the person.
    """
    options = job.options
    who = person(options, job.index)
    voices, faces = [], []
    name = f"synthetic-{options.seed}-{options.strength:g}/{who.identity}"

    def video(i: int) -> str:
        return f"{name}/{i % videos}" if videos else ""

    for i in range(options.voices):
        waveform, observed = voice_clip(who, i)
        voices.append(Clip(f"{name}/v{i:03d}", encode_flac(waveform), video(i), observed=tuple(observed.tolist())))
    for i in range(options.faces):
        image, observed = face_clip(who, i)
        faces.append(Clip(f"{name}/f{i:03d}", encode_jpeg(image), video(i), observed=tuple(observed.tolist())))
    return Person(who.identity, job.split, tuple(voices), tuple(faces))


def prepare_synthetic(
    out: Path,
    options: SyntheticOptions,
    workers: int | None = None,
    bundle: Bundling = "random",
    engine: Engine = LOCAL,
) -> Summary:
    """Make a synthetic corpus.

    Two thirds of the people are for training, a twelfth for validation, a quarter for testing (600 people: 400, 50,
    150).

    Args:
        out: Folder of the corpus.
        options: Size, seed and strength.
        workers: Processes; default one per core.
        bundle: `video` says that each voice and the face of its number come from one video, and keeps these together.
        engine: Where the clips are made, see `voiceface.data.prepare.engine.build.build`.

    Returns:
        Counts per split.

    Raises:
        UserError: As `voiceface.data.prepare.engine.build.build`.
    """
    n = options.identities
    if n < 6:
        raise UserError(f"--identities {n}: each of three splits needs two people; give 6 or more")
    val, test = max(2, round(n * VAL_SHARE)), max(2, round(n * TEST_SHARE))
    splits = np.array(["val"] * val + ["test"] * test + ["train"] * max(n - val - test, 0))
    order = np.random.default_rng(seeded(options.seed, "split")).permutation(n)
    split_of = {int(i): str(splits[rank]) for rank, i in enumerate(order)}
    jobs = [SyntheticJob(options, i, split_of[i]) for i in range(n)]
    identities = {who.identity: who.attributes for who in (person(options, i) for i in range(n))}
    corpus = CorpusOptions("synthetic", "Apache-2.0", FACE_SIZE, FACE_MARGIN, seed=options.seed, bundle=bundle)
    made_by = {"command": "prepare synthetic", "synthetic": asdict(options)}
    videos = min(options.voices, options.faces) if bundle == "video" else 0
    return build(out, jobs, partial(render, videos=videos), identities, corpus, made_by, workers=workers, engine=engine)
