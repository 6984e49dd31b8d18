"""`voiceface clips`: the list of a corpus' clips, for those who embed them with a model of their own."""

import argparse
import sys
from argparse import Namespace
from pathlib import Path

from voiceface.cli.parser import Parser, add_command, add_path
from voiceface.utils.errors import UserError
from voiceface.utils.files import check_writable, csv_bytes, write_for_user

EXAMPLES = """examples:
  voiceface clips CORPUS                                     the clips of the test people
  voiceface clips CORPUS --split train --out clips.csv
  voiceface clips                                            those of the built-in synthetic corpus

A line for each clip: kind (voice or face), key, identity, and what the corpus knows of the person. `voiceface score`
ranks the embeddings of these clips with other results where keys and identities are the same; its --identities takes
the corpus' `identities.csv`. In Python `voiceface.data.corpus.shards.Corpus("CORPUS").clips("test")` reads them."""


def add_parsers(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    clips = add_command(commands, "clips", "list the clips of a corpus: kind, key, identity, attributes", EXAMPLES)
    add_path(clips, "corpus", "DIR", "corpus; without it the built-in synthetic one, made on first use", nargs="?")
    clips.add_argument("--split", default="test", choices=["train", "val", "test"], help="split (default: test)")
    add_path(clips, "--out", "FILE", "CSV to write (default: standard output)")


def run_clips(options: Namespace) -> int:
    """Print or write the list."""
    if options.out is not None:
        check_writable(Path(options.out))
    from voiceface.data.builtin import builtin_corpus
    from voiceface.data.corpus.shards import Corpus, DamagedError
    from voiceface.utils.progress import progress

    corpus = Corpus(options.corpus or builtin_corpus())
    people = corpus.identities
    attributes = list(dict.fromkeys(name for person in people.values() for name in person if name != "split"))
    index = corpus.index(options.split)
    rows: list[tuple[str, ...]] = []
    with progress("reading", len(index), shown=options.out is not None) as done:
        for bundle in index:
            known = people.get(bundle.identity, {})
            about = bundle.identity, *(known.get(name, "") for name in attributes)
            try:
                voices, faces = corpus.members(options.split, bundle)
            except DamagedError as error:
                raise UserError(f"{corpus.root}: {error}; run `voiceface check` on it") from None
            rows += [("voice", clip.key, *about) for clip in voices] + [("face", clip.key, *about) for clip in faces]
            done()
    content = csv_bytes(("kind", "key", "identity", *attributes), sorted(rows))
    if options.out is None:
        sys.stdout.write(content.decode("utf-8", "surrogateescape"))
        return 0
    write_for_user(Path(options.out), content)
    print(f"{options.out}: {len(rows):,} clips of {len({row[2] for row in rows}):,} people")
    return 0
