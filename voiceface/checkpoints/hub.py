"""Checkpoints on the Hugging Face hub: download and upload. Only the files of a checkpoint are transferred."""

import re
import sys
from pathlib import Path
from types import ModuleType

from voiceface.checkpoints.config import FILES, HUB, REQUIRED
from voiceface.utils.errors import UserError

REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
REVISION = r"\w[\w-]*(?:[./][\w-]+)*"


def download(name: str) -> Path:
    """Download a checkpoint from the hub, or find it in the hub's cache, which also works offline.

    Args:
        name: `hf://owner/name`, or `hf://owner/name@revision` with a branch, a tag or a commit.

    Returns:
        The folder in the cache of huggingface_hub, with only the files of the checkpoint: no other file of the
        repository is downloaded.

    Raises:
        UserError: The name is not valid, huggingface_hub is not installed, or there is no such checkpoint.
    """
    repository, at, revision = name.removeprefix(HUB).partition("@")
    if not re.fullmatch(REPOSITORY, repository) or (at and not re.fullmatch(REVISION, revision)):
        raise UserError(f"{name}: not a checkpoint on the hub; write {HUB}owner/name or {HUB}owner/name@revision")
    hub = _library(name)
    try:
        folder = Path(hub.snapshot_download(repository, revision=revision or None, allow_patterns=list(FILES)))
    except Exception as error:
        raise UserError(f"{name}: {_reason(error)}") from None
    missing = [file for file in REQUIRED if not (folder / file).is_file()]
    if missing:
        raise UserError(f"{name}: not a checkpoint of voiceface (no {missing[0]})")
    return folder


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Upload a checkpoint to a repository on the hub, which is created if it does not exist.

    Files of the checkpoint replace those in the repository in one commit; other files stay.

    Args:
        folder: Checkpoint folder, with its card.
        repository: `owner/name`.
        private: Whether a created repository is private.

    Returns:
        URL of the repository.

    Raises:
        UserError: The checkpoint is incomplete (`voiceface.checkpoints.wheel.check_whole`), or the hub refuses.
    """
    from voiceface.checkpoints.wheel import check_whole

    repository = repository.removeprefix(HUB)
    if not re.fullmatch(REPOSITORY, repository):
        raise UserError(f"{repository}: not a name on the hub; write owner/name")
    hub = _library(repository)
    check_whole(folder)
    api = hub.HfApi()
    try:
        address = str(api.create_repo(repository, private=private or None, exist_ok=True))
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(FILES),
            delete_patterns=list(FILES),  # those that this checkpoint lacks
            commit_message="A checkpoint of voiceface",
        )
    except Exception as error:
        raise UserError(f"{repository}: {_reason(error)}") from None
    return address


def _library(name: str) -> ModuleType:
    try:
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # as it documents
    except ImportError:
        raise UserError(f"{name}: the hub needs the extra `remote`: pip install 'voiceface[remote]'") from None
    if not sys.stderr.isatty():
        disable_progress_bars()
    return huggingface_hub


def _reason(error: Exception) -> str:
    """Explain the error in one line; access errors also say what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "its owner grants access on the hub; ask there, then run `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository on the hub, or it is private; check the name, or run `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision of it on the hub"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "the hub cannot be reached, and it is not in the cache; try again when there is a network"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return "the hub refuses; run `hf auth login` with a token that may do this"
    return f"the hub did not do it ({' '.join(str(error).split())[:200] or type(error).__name__})"
