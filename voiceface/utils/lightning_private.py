"""Lightning's private members: all that voiceface uses, so that a release which renames one is mended here alone."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

CLI_HOOKS = ("_get", "_instantiate_trainer", "_parse_ckpt_path", "_prepare_subcommand_kwargs", "_run_subcommand")
"""Methods of `LightningCLI` that `training.fit.FitCLI` overrides or calls."""


def logs_this_step(trainer: "pl.Trainer | None") -> bool:
    """Whether the running step is a logging step; without a trainer each is.

    The public step count differs where steps are skipped; Lightning's own LearningRateMonitor asks the same.
    """
    return trainer is None or trainer._logger_connector.should_update_logs


def trainer_of(module: "pl.LightningModule") -> "pl.Trainer | None":
    """The trainer of a module, None where it has none: `module.trainer` raises an error there."""
    return module._trainer


def accumulates(trainer: "pl.Trainer") -> bool:
    """Whether the batch that just ended has left the optimiser step to a later one."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def cluster_environment(trainer: "pl.Trainer") -> "ClusterEnvironment":
    """Who has started the processes."""
    return trainer._accelerator_connector.cluster_environment


def ignore_sigterm(trainer: "pl.Trainer") -> None:
    """Take SIGTERM from Lightning.

    Its handler waits for the other processes inside the handler; and before every step it asks the first process, and
    waits for the GPU, whether there was a signal.
    """
    trainer._signal_connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
