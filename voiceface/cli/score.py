"""`voiceface score` and `analyze`: embeddings of any origin."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from voiceface.cli.common import note
from voiceface.cli.parser import Parser, add_command, add_path, non_empty
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, free_path

if TYPE_CHECKING:
    from voiceface.evaluation.embeddings import Embeddings


EMBEDDINGS = """an .npz of voices, voice_identity, voice_key, faces, face_identity, face_key, or a folder of voices.npy,
voices.csv (identity, key), faces.npy and faces.csv, or of voices.parquet and faces.parquet"""
KEYS = """Two results are ranked with each other where their clips have the same keys. The key of a clip in a corpus
is its path without the ending: anna/voice/01 for the file anna/voice/01.flac. `voiceface clips CORPUS` lists them."""


SCORE_EXAMPLES = """examples:
  voiceface score emb.npz                                          what `voiceface embed` wrote
  voiceface score emb.npz --identities vox1_meta.csv --trials veriflist_test_G_unseenunheard.txt
  voiceface score FOLDER --similarity similarity.npy --strata U,G,GN --out scores.json

"""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands."""
    score = add_command(commands, "score", "score embeddings of any model", SCORE_EXAMPLES + KEYS)
    analyze = add_command(
        commands,
        "analyze",
        "what embeddings know of people: probes, distance against agreement, t-SNE",
        "voiceface analyze emb.npz --identities identities.csv --out analysis",
    )
    for command in (score, analyze):
        add_path(command, "embeddings", "EMB", EMBEDDINGS)
        add_path(command, "faces", "FACES", "the faces' file, where EMB is that of the voices", nargs="?")
        add_path(
            command, "--identities", "CSV", "what is known of each person: identity or VoxCeleb's ids, gender, ..."
        )
        command.add_argument(
            "--similarity",
            type=non_empty,
            metavar="cosine|euclidean|FILE.npy",
            help="how they compare (default: what EMB says, else cosine); a file holds a matrix, voices by faces",
        )
    add_path(score, "--trials", "FILE", "trial lists to score as well", nargs="+", default=[])
    score.add_argument(
        "--protocol",
        nargs="+",
        default=[],
        choices=["trinet", "kim", "drl", "pins"],
        metavar="NAME",
        help="protocols of papers to run beside the exact scores: trinet, kim, drl, pins",
    )
    score.add_argument(
        "--strata", type=non_empty, metavar="U,G,...", help="who competes (default: all that --identities allows)"
    )
    score.add_argument("--level", type=float, default=0.95, help="confidence level (default: 0.95)")
    score.add_argument("--seed", type=int, default=0, help="seed of what is drawn: protocols, galleries, joint scores")
    score.add_argument("--name", type=non_empty, help="name of the model (default: what EMB says, else its file name)")
    add_path(
        score,
        "--out",
        "FILE",
        "result file, a new one (default: the first that is free of results.json, results-2.json, ...)",
    )
    score.add_argument("--all", action="store_true", help="print every score, not the headline alone")
    add_path(analyze, "--out", "DIR", "folder to write", required=True)
    analyze.add_argument("--seed", type=int, default=0)
    analyze.add_argument("--level", type=float, default=0.99, help="confidence level of the probes (default: 0.99)")
    analyze.add_argument("--points", type=int, default=2000, help="clips in a picture (default: 2000)")


def run_score(options: Namespace) -> int:
    """Score embeddings, print their tables and write the result file."""
    from voiceface.evaluation.results import write_results
    from voiceface.evaluation.scoring import score_embeddings
    from voiceface.evaluation.tables import print_table

    out = Path(options.out) if options.out else free_path(Path("results.json"))
    check_writable(out)
    if out.exists():
        raise UserError(f"--out {out}: already exists; name another file, or delete it")
    identities = _identities(options)
    embeddings = _embeddings(options)
    results = score_embeddings(
        embeddings,
        options.name or embeddings.about.get("model", {}).get("recipe") or _file_name(options),
        identities,
        [Path(path) for path in options.trials],
        list(dict.fromkeys(options.protocol)),
        None if options.strata is None else list(dict.fromkeys(options.strata.split(","))),
        options.level,
        options.seed,
        note,
    )
    write_results(out, results)
    print_table(results, options.all)
    print(f"scores: {out}" + ("" if options.all else " (--all prints all of them)"))
    return 0


def run_analyze(options: Namespace) -> int:
    """Analyse embeddings, print the tables and write the folder."""
    from voiceface.evaluation.analysis import analyze, print_analysis

    identities = _identities(options)
    embeddings = _embeddings(options)
    known = identities if identities is not None else embeddings.about.get("identities")
    if known is None:
        raise UserError(f"--identities is missing: {options.embeddings} does not say what is known of the people")
    print_analysis(analyze(embeddings, known, Path(options.out), options.seed, options.level, options.points))
    print(f"analysis: {options.out}")
    return 0


def _identities(options: Namespace) -> dict[str, dict[str, str]] | None:
    from voiceface.evaluation.embeddings import read_identities

    return None if options.identities is None else read_identities(Path(options.identities))


def _embeddings(options: Namespace) -> "Embeddings":
    from voiceface.evaluation.embeddings import read_embeddings

    faces = None if options.faces is None else Path(options.faces)
    return read_embeddings(Path(options.embeddings), faces, options.similarity)


def _file_name(options: Namespace) -> str:
    path = Path(options.embeddings).resolve()
    if options.faces is not None:
        return path.parent.name
    return path.name if path.is_dir() else path.stem
