"""The built-in corpus: made once, kept in the user's cache folder, verified by hash on reuse."""

import os
import shutil
import sys
from pathlib import Path

from voiceface.data.check import hash_problems
from voiceface.data.shards import Corpus
from voiceface.data.synthetic import SyntheticOptions
from voiceface.prepare.synthetic import prepare_synthetic

VERSION = 1


def cache_folder() -> Path:
    """Folder of what voiceface can make again.

    Returns:
        `$VOICEFACE_CACHE`, else `$XDG_CACHE_HOME/voiceface`, else `~/.cache/voiceface`.
    """
    own = os.environ.get("VOICEFACE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voiceface"


def builtin_corpus() -> str:
    """Find the built-in corpus, or make it.

    Returns:
        Its folder. A copy whose hashes do not fit is made anew.
    """
    folder = cache_folder() / f"synthetic-{VERSION}"
    if (folder / "corpus.json").exists() and hash_problems(Corpus(folder)):
        print(f"{folder}: damaged, making it again", file=sys.stderr)
        shutil.rmtree(folder)
    if not (folder / "corpus.json").exists():
        print(f"making the built-in synthetic corpus in {folder} (once, about a minute)", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        prepare_synthetic(folder, SyntheticOptions())
    return str(folder)
