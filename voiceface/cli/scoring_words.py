"""The words of `voiceface score` and `analyze`."""

import argparse

from voiceface.cli.parser import Parser, add_command, add_path, given

EMBEDDINGS = """an .npz of voices, voice_identity, voice_key, faces, face_identity, face_key, or a folder of voices.npy,
voices.csv (identity, key), faces.npy and faces.csv, or of voices.parquet and faces.parquet"""

SCORE_EXAMPLES = """examples:
  voiceface score emb.npz                                          what `voiceface embed` wrote
  voiceface score emb.npz --identities vox1_meta.csv --trials veriflist_test_G_unseenunheard.txt
  voiceface score FOLDER --similarity similarity.npy --strata U,G,GN --out results.json"""


def add_scoring(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands."""
    score = add_command(commands, "score", "score embeddings, ours or not", SCORE_EXAMPLES)
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
            type=given,
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
        "--strata", type=given, metavar="U,G,...", help="who competes (default: all that --identities allows)"
    )
    score.add_argument("--level", type=float, default=0.95, help="confidence level (default: 0.95)")
    score.add_argument("--seed", type=int, default=0, help="seed of what is drawn: protocols, galleries, joint scores")
    score.add_argument("--name", type=given, help="name of the model (default: what EMB says, else its file name)")
    add_path(score, "--out", "FILE", "result file (default: results.json)", default="results.json")
    score.add_argument("--all", action="store_true", help="print every score, not the headline alone")
    add_path(analyze, "--out", "DIR", "folder to write", required=True)
    analyze.add_argument("--seed", type=int, default=0)
    analyze.add_argument("--level", type=float, default=0.99, help="confidence level of the probes (default: 0.99)")
    analyze.add_argument("--points", type=int, default=2000, help="clips in a picture (default: 2000)")
