"""Optional Weights & Biases support."""

import logging
from typing import Any

from voiceface.utils.errors import UserError

log = logging.getLogger(__name__)


def ready_wandb(project: str, login: bool = True) -> Any:
    """Return the package `wandb`, ready to log to a project.

    Args:
        project: Value of `--wandb`.
        login: Whether a user must be logged in, unless it is offline.

    Raises:
        UserError: It is not installed, or no user is logged in.
    """
    try:
        import wandb
    except ImportError:
        raise UserError(
            f"--wandb {project}: the package is missing; pip install 'voiceface[wandb]', or leave the option out"
        ) from None
    if login and wandb.setup().settings.mode not in ("offline", "dryrun", "disabled"):
        try:
            wandb.login()
        except wandb.errors.CommError as error:
            log.warning("--wandb %s: %s", project, " ".join(str(error).split()))
        except wandb.errors.Error as error:
            raise UserError(
                f"--wandb {project}: {' '.join(str(error).split()).rstrip('.')}; or keep the run on this machine: set "
                "WANDB_MODE=offline"
            ) from None
    return wandb
