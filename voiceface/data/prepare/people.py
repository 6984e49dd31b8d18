"""`voiceface prepare folder` and `prepare videos`: a corpus of the people in a folder or in a CSV manifest."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voiceface.data.corpus.bundles import Person
from voiceface.data.corpus.videos import shared_videos
from voiceface.data.prepare.engine.build import LOCAL, Bundling, CorpusOptions, Engine, Summary, build
from voiceface.data.prepare.folder import FolderOptions, Job, collect, make_folder_person
from voiceface.data.prepare.sources.collect import Collection
from voiceface.data.prepare.sources.selection import chosen
from voiceface.data.prepare.sources.walk import check_outside
from voiceface.data.prepare.videos import VideosJob, VideosOptions, collect_videos, make_videos_person
from voiceface.utils.errors import UserError


def prepare_people(
    source: Path,
    out: Path,
    options: FolderOptions | VideosOptions,
    workers: int | None = None,
    bundle: Bundling = "random",
    limit: int | None = None,
    only: str = "",
    engine: Engine = LOCAL,
) -> Summary:
    """Make a corpus of the people in a folder or a manifest, of voices and faces or of videos.

    Args:
        source: Folder or CSV, see `collect` and `collect_videos`.
        out: Folder of the corpus.
        options: What is kept, and how; they say which of the two is there.
        workers: Processes; default one per core.
        bundle: `video` keeps the clips of one video together, see `CorpusOptions`.
        limit: So many people at most, see `voiceface.data.prepare.sources.selection.chosen`.
        only: These people only, see there.
        engine: Where the files are read, see `voiceface.data.prepare.engine.build.build`.

    Returns:
        Counts per split, and rejects by reason.

    Raises:
        UserError: As `collect` or `collect_videos`, `voiceface.data.prepare.sources.selection.chosen` and
            `voiceface.data.prepare.engine.build.build`.
    """
    check_outside(source, out)
    found: Collection[Job] | Collection[VideosJob]
    make: Callable[[Any], Person]
    if isinstance(options, VideosOptions):
        kind, found, make = "videos", collect_videos(source, options), make_videos_person
    else:
        kind, found, make = "folder", collect(source, options), make_folder_person
        if bundle == "video" and not any(shared_videos(job.voices, job.faces) for job in found.jobs):
            raise UserError(
                f"--bundle video: no video in {source} has both voices and faces; name the videos by equal folders "
                "below voice/ and face/ or in a column video, or leave --bundle out"
            )
    face = options.reading.face
    corpus = CorpusOptions(options.name, options.licence, face.size, face.margin, seed=options.seed, bundle=bundle)
    made_by = {"command": f"prepare {kind}", kind: asdict(options)}
    jobs: Sequence[Any] = chosen(found.jobs, limit, only)
    return build(out, jobs, make, found.identities, corpus, made_by, found.rejects, workers, engine)
