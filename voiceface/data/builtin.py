"""The built-in corpus: made once, kept in the user's cache folder, verified by hash on reuse."""

import shutil
import sys
from pathlib import Path

from voiceface.data.corpus.check import hash_problems
from voiceface.data.corpus.remote import cache_folder
from voiceface.data.corpus.shards import Corpus
from voiceface.data.prepare.synthetic import prepare_synthetic
from voiceface.data.synthetic import SyntheticOptions

VERSION = 1
_verified: set[Path] = set()  # one run asks for the corpus several times


def builtin_corpus() -> str:
    """Find the built-in corpus, or make it.

    Returns:
        Its folder. A copy whose hashes do not fit is made anew; each process checks them once.
    """
    folder = cache_folder() / f"synthetic-{VERSION}"
    if folder not in _verified and (folder / "corpus.json").exists() and hash_problems(Corpus(folder)):
        print(f"{folder}: damaged, making it again", file=sys.stderr)
        shutil.rmtree(folder)
    if not (folder / "corpus.json").exists():
        print(f"making the built-in synthetic corpus in {folder} (once, about a minute)", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        prepare_synthetic(folder, SyntheticOptions())
    _verified.add(folder)
    return str(folder)
