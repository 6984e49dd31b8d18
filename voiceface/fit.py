"""`voiceface fit`: LightningCLI with a run folder, the metrics callback, and a test at the end."""

import csv
import ctypes
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentError
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.trainer.states import TrainerFn

from voiceface.bar import RunBar
from voiceface.data.leaks import identities_of
from voiceface.data.module import VoxVGGDataModule
from voiceface.errors import UserError
from voiceface.evaluation import CrossModalMetrics
from voiceface.method import Method
from voiceface.recipes import twin
from voiceface.report import print_table
from voiceface.weights import save_checkpoint
from voiceface.words import expand

MONITOR = "val/accuracy"
RUN_FOLDER = "VOICEFACE_RUN_FOLDER"
made: list[Path] = []  # the run folder, where this process made it


class _Writer(ExperimentWriter):
    """Lightning's CSV writer, but a resumed run adds to the file instead of deleting it."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.exists():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


class RunLogger(CSVLogger):
    """`metrics.csv` straight in the run folder.

    Args:
        folder: Run folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=50)

    @property
    def log_dir(self) -> str:
        """The run folder."""
        return self.save_dir

    @property
    def experiment(self) -> Any:
        """The writer, made on first use."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Nothing: `config.yaml` holds them."""


class LastCheckpoint(Checkpoint):
    """Keep the state to go on from in one file, replaced whole.

    Where a validation follows a step, the state is saved after it: Lightning does not repeat it on resume, so its best
    score must be in the file.

    Args:
        path: The file.
        every: Steps between two writes.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every, self.saved = path, every, 0

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step != self.saved:
            self.saved = trainer.global_step
            trainer.save_checkpoint(self.path)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every so many steps, unless a validation is about to begin."""
        interval = trainer.val_check_batch
        validates = isinstance(interval, int) and trainer.global_step % interval == 0
        if trainer.global_step % self.every == 0 and not validates:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after a validation, with what it found."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save(trainer)


class FitCLI(LightningCLI):
    """LightningCLI around `Trainer.fit`, with voiceface's run folder.

    Args:
        args: Words for LightningCLI.
        chosen: Recipe, preset and out, from `voiceface.words.expand`.
    """

    def __init__(self, args: Sequence[str], chosen: dict[str, str]) -> None:
        self.chosen = chosen
        super().__init__(
            Method,
            VoxVGGDataModule,
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            seed_everything_default=0,
            trainer_defaults={"num_sanity_val_steps": 0, "log_every_n_steps": 25, "enable_model_summary": False},
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"exit_on_error": False, "fit": {"exit_on_error": False}},
            args=list(args),
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Only fit: test and embed take a checkpoint and are commands of their own."""
        return {"fit": LightningCLI.subcommands()["fit"]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what LightningCLI lacks."""
        parser.add_lightning_class_args(CrossModalMetrics, "metrics")
        parser.add_argument("--save_every", type=int, default=200, help="Steps between two writes of last.ckpt.")

    def _parse_ckpt_path(self) -> None:
        """Keep the command line's settings; `Method.on_load_checkpoint` refuses a checkpoint of other ones."""

    def before_instantiate_classes(self) -> None:
        """Settle the run folder before anything is built."""
        config = self.config[self.subcommand]
        if config["save_every"] < 1:
            raise UserError(f"--save_every {config['save_every']}: give 1 or more steps")
        # The saved config.yaml is for other runs too: it holds neither this run's folder nor where it resumed from.
        self.resumed = config.pop("ckpt_path")
        config["ckpt_path"] = None
        self.out = _run_folder(self.chosen, self.resumed)
        if self.resumed == "last":
            self.resumed = str(self.out / "last.ckpt")
        if self.resumed:
            _readable(Path(self.resumed))
        trainer = config["trainer"]
        for name in ("val_check_interval", "log_every_n_steps"):
            if isinstance(trainer[name], int) and trainer["max_steps"] > 0:
                trainer[name] = min(trainer[name], trainer["max_steps"])
            if trainer[name] is not None and trainer[name] <= 0:
                raise UserError(f"--trainer.{name} {trainer[name]}: give 1 or more steps")
        wanted = config["trainer"]["devices"]
        if config["trainer"]["accelerator"] in ("gpu", "cuda") and torch.cuda.device_count() < (
            wanted if isinstance(wanted, int) else 1
        ):
            raise UserError(
                f"--gpus {wanted}: this machine has {torch.cuda.device_count()} GPUs; leave --gpus out to "
                "train on the CPU"
            )

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Log to the run folder, beside the loggers that the user asks for."""
        logger = self._get(self.config_init, "trainer")["logger"]
        extra = [] if logger in (None, True, False) else logger if isinstance(logger, list) else [logger]
        folder = str(self.out)
        return super().instantiate_trainer(logger=[RunLogger(folder), *extra], default_root_dir=folder, **kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
        """Keep the last and the best state in the run folder, and show one bar."""
        (self.metrics,) = (c for c in callbacks if isinstance(c, CrossModalMetrics))
        self.metrics.out = self.metrics.out or str(self.out / "results.json")
        self.metrics.recipe = self.metrics.recipe or self.chosen["recipe"]
        last = LastCheckpoint(self.out / "last.ckpt", self._get(self.config, "save_every"))
        best = ModelCheckpoint(
            self.out, "best", monitor=MONITOR, mode="max", save_weights_only=True, enable_version_counter=False
        )
        bar = [] if config["enable_progress_bar"] is False else [RunBar()]
        return super()._instantiate_trainer(config, [*callbacks, best, last, *bar])

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Hand over where to resume from."""
        return {**super()._prepare_subcommand_kwargs(subcommand), "ckpt_path": self.resumed}

    def before_fit(self) -> None:
        """Look at all splits before the hours of work, not after."""
        if isinstance(self.datamodule, VoxVGGDataModule):
            self.datamodule.prepare_data()
            for split in ("train", "val", "test"):
                self.datamodule.bundles(split)
        if self.trainer.is_global_zero:
            size = self.model.count_parameters()
            where = self.datamodule.root or f"{self.datamodule.corpus.root} (built-in, synthetic)"
            print(
                f"{self.chosen['recipe'] or type(self.model).__name__}, preset {self.chosen['preset']}: "
                f"{size:,} parameters; data {where}; run folder {self.out}",
                file=sys.stderr,
            )
            same = twin(self.chosen["recipe"], self.chosen["preset"], self.chosen["encoders"])
            if same is not None:
                print(
                    f"with these networks the settings of {self.chosen['recipe']} are those of {same}", file=sys.stderr
                )

    def after_fit(self) -> None:
        """Keep the last state, test the best one, write the checkpoint folder."""
        self.trainer.save_checkpoint(self.out / "last.ckpt")
        best = self.out / "best.ckpt"
        if best.exists():
            state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
            self.model.load_state_dict(state)
        corpus = self.datamodule.corpus
        self.model.training_data = {"corpus": corpus.name, "version": corpus.version, "split": "train"}
        self.model.training_identities = frozenset(identities_of(corpus, "train"))
        if self.trainer.is_global_zero:
            self.model.checkpoint_hash = save_checkpoint(
                self.model,
                self.out / "checkpoint",
                self.chosen["recipe"],
                self.model.training_data,
                self.model.training_identities,
            )
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        if self.trainer.is_global_zero:
            if self.metrics.results is not None:
                print_table(self.metrics.results)
            print(f"scores: {self.out / 'results.json'}   checkpoint: {self.out / 'checkpoint'}")


def _readable(path: Path) -> None:
    """Refuse a file that is no training state, before the work begins."""
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file")
    try:
        state = torch.load(path, map_location="meta", weights_only=True)
        whole = {"state_dict", "loops", "optimizer_states"} <= state.keys()
    except Exception:
        whole = False
    if not whole:
        raise UserError(f"--ckpt_path {path}: not a training state, or damaged; give the last.ckpt of a run")


def _run_folder(chosen: dict[str, str], resumed: str | None) -> Path:
    """`--out`, or the next free `runs/RECIPE`; processes that this one starts use the same."""
    if "LOCAL_RANK" in os.environ and RUN_FOLDER in os.environ:
        return Path(os.environ[RUN_FOLDER])
    if chosen["out"]:
        out = Path(chosen["out"])
        if (out / "last.ckpt").exists() and not resumed:
            raise UserError(f"--out {out}: holds a run; go on with it by --ckpt_path last, or choose another folder")
    elif resumed and resumed != "last":
        out = Path(resumed).parent
    else:
        name = chosen["recipe"] or "run"
        names = [f"runs/{name}", *(f"runs/{name}-{i}" for i in range(2, 10_000))]
        taken = [Path(n) for n in names if (Path(n) / "last.ckpt").exists()]
        if resumed == "last":
            if not taken:
                raise UserError("--ckpt_path last: no run to go on with here; name its folder by --out")
            return taken[-1]
        out = next(Path(n) for n in names if not Path(n).exists() or not any(Path(n).iterdir()))
    if not out.exists():
        made.append(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"--out {out}: cannot be written ({(error.strerror or str(error)).lower()}); choose another folder"
        ) from None
    os.environ[RUN_FOLDER] = str(out)
    return out


def quiet() -> None:
    """Keep Lightning's advice out of the user's terminal; warnings about the run stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for message in (
        ".*LightningCLI's args parameter.*",
        ".*worker processes in total.*",
        ".*sync_dist=True.*",
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists.*",
        ".*number of training batches.*",
        ".*isinstance\\(treespec.*",
    ):
        warnings.filterwarnings("ignore", message)


def keep_memory() -> None:
    """Let the C library keep large blocks between steps instead of returning them to the kernel after each one.

    On a CPU the page faults of fetching them anew took a sixth of a training step. Does nothing without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)


def fit(args: Sequence[str]) -> None:
    """Train, validate, test, write the run folder, print the table.

    Args:
        args: Words after `voiceface fit`.

    Raises:
        UserError: Anything that the user can mend.
    """
    words, chosen = expand(args)
    quiet()
    keep_memory()
    if "OMP_NUM_THREADS" not in os.environ:
        # Half of the cores compute, the rest read data; a fixed number: results must not depend on --data.workers.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    try:
        FitCLI(words, chosen)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt("go on with the same command, --out of this run, and --ckpt_path last") from None
        raise
    except Exception as error:
        mistake = users_mistake(error)
        if mistake is None:
            raise
        leave_nothing()
        raise UserError(mistake) from None


def leave_nothing() -> None:
    """After a refusal, remove the run folder that this process made, unless training left something in it."""
    for folder in made:
        if folder.exists() and {path.name for path in folder.iterdir()} <= {"config.yaml"}:
            (folder / "config.yaml").unlink(missing_ok=True)
            folder.rmdir()


def users_mistake(error: BaseException) -> str | None:
    """Find what the user can mend in what the libraries made of it.

    Args:
        error: Anything that came out of LightningCLI.

    Returns:
        One line, or None where the mistake is not the user's.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, UserError):
            return str(link)
        link = link.__cause__ or link.__context__
    if isinstance(error, MisconfigurationException):
        return " ".join(str(error).split())
    if not isinstance(error, ArgumentError):
        return None
    text = str(error)
    option = ".".join(re.findall(r'Parser key "([^"]+)"', text))
    value = re.search(r"(?:Got value|Given value): ('?)(.*)\1", text)
    expected = re.findall(r"Expected a (?:<class ')?(.+?)(?:'>)?(?:\. Got value.*)?$", text, re.M)
    wanted = " or ".join(dict.fromkeys(e.removeprefix("typing.") for e in expected if e != "NoneType"))
    if option and value and wanted:
        return f"--{option} {value[2]}: expected {wanted}"
    return " ".join(text.split())
