"""One run: `stratoscope fit|validate|test|predict`, a LightningCLI.

First everything is parsed, checked and built, with nothing written (`build`, `Command.check`); whatever is wrong then
is answered in one line with exit code 2. Only then the run directory is made and the trainer started (`Command.start`).
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import torch
import yaml
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_helpers import is_overridden

import stratoscope
from stratoscope.callbacks import (
    ExactResume,
    FiniteLoss,
    Predictions,
    Pretrained,
    RunProgressBar,
)
from stratoscope.callbacks.guards.exact_loops import finished_epochs
from stratoscope.callbacks.progress.above import messages_above
from stratoscope.datamodules import ImageDataModule
from stratoscope.errors import Refused
from stratoscope.fit.arguments import (
    check_keys,
    check_numbers,
    seed_corruptions,
    with_checkpoint_config,
    with_configs_first,
    with_configs_found,
    without_anchors,
)
from stratoscope.fit.checks import check_going_on, check_together
from stratoscope.fit.finished_epochs import FinishedEpochs
from stratoscope.fit.parse_errors import one_line
from stratoscope.fit.trainer_check import check_names, check_stepping, check_trainer
from stratoscope.fit.wandb_mirror import WandbMirror
from stratoscope.fit.wandb_setup import begin_wandb, prepare_wandb, tags_of, wandb_finished
from stratoscope.models import Classifier
from stratoscope.printable import one_printable_line, printable
from stratoscope.probes import UnreadableBatch
from stratoscope.results.flat_config import short_config
from stratoscope.run.checkpoint import (
    CONFIG,
    CUT,
    LastCheckpoint,
    WholeFiles,
    check_weights,
    load_checkpoint,
    newest_good,
)
from stratoscope.run.checkpoint_contents import check_parts
from stratoscope.run.directory import RunDirectory, different
from stratoscope.run.end_together import EndTogether
from stratoscope.run.going_on import check_longer, sorted_out
from stratoscope.run.interruption import Interrupted, StopOnSignal, requeue
from stratoscope.run.masking import masked, masked_words
from stratoscope.run.metrics_file import MetricsFile
from stratoscope.run.processes import (
    OneProcess,
    asks_for_one,
    check_launcher,
    check_number,
    name_from_first,
    named_for_others,
    ranks_left,
    set_rank,
)

register_type(torch.device, str, torch.device)  # the default of StochasticWeightAveraging, for one

RECORDED = ("seed_everything", "threads", "trainer", "model", "data")  # what makes a run what it is


class Parser(LightningArgumentParser):
    """Raises what is wrong instead of printing it with the usage; no option can be abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def _load_config_parser_mode(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """Load a config, without its keys that are there for anchors only."""
        with suppress(yaml.YAMLError):  # the loader will say it
            content = without_anchors(content)
        return super()._load_config_parser_mode(content, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse the input.

        Raises:
            ValueError: Always; `build` makes it readable.
        """
        raise ValueError(message) from ex


class Command(LightningCLI):
    """A command, parsed and built but not started."""

    directory: RunDirectory
    data_hashes: dict[str, str] | None = None
    sizes: dict[str, int] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Command":
        """Itself: what it has built knows it, and is copied by those who average weights."""
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._words = list(kwargs["args"])
        super().__init__(*args, **kwargs)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """The commands, and the arguments of the trainer's methods that are not options; of one that is asked for, it.

        The parser of a command takes longer to make than to use.
        """
        every = {name: {*skipped, "weights_only"} for name, skipped in LightningCLI.subcommands().items()}
        asked = self._words[0] if self._words else ""
        return {asked: every[asked]} if asked in every else every

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that are ours."""
        threads = "CPU threads of each process; on a machine that is not idle, 1 is fastest. The default is torch's."
        parser.add_argument("--threads", type=int | None, default=None, help=threads)
        parser.add_argument(
            "--run", type=str | None, default=None, help="Name of the run; the same name goes on with it."
        )
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all run directories.")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and check the numbers that the constructors would take."""
        super().parse_arguments(parser, args)
        check_numbers(self.config[self.config.subcommand])

    def _dump_config(self) -> None:
        """As Lightning's, without a second check of every value, which would take as long as the first."""
        if not hasattr(self, "config_dump"):
            options: dict[str, Any] = {"skip_link_targets": False, "skip_none": False, "format": "yaml"}
            dumped = self.parser.dump(self.config, skip_validation=True, **options)
            self.config_dump = yaml.safe_load(dumped)[self.config.subcommand]

    def _parse_ckpt_path(self) -> None:
        """Nothing: `build` puts the checkpoint's config before the command line's, which so wins."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing: `start` does."""

    def before_instantiate_classes(self) -> None:
        """Find the run directory and what it goes on from.

        Raises:
            Refused: If the run or the checkpoint is of another config.
        """
        config = self.config[str(self.subcommand)]
        if config.threads is not None:
            # in the environment for processes to be started, and so that Lightning keeps it
            os.environ["OMP_NUM_THREADS"] = str(config.threads)
            torch.set_num_threads(config.threads)
        words = [str(self.subcommand), *(_short(config.get(key)) for key in ("model", "data"))]
        self.alone = asks_for_one(config.trainer)
        name = config.run
        if self.alone:
            set_rank(0)
        else:
            check_launcher()
            name = name_from_first() or name
        self.directory = RunDirectory(config.runs, name, words)
        self.notes = seed_corruptions(config, self.directory.config)
        self._dump_config()
        self.record = masked({key: self.config_dump[key] for key in RECORDED if key in self.config_dump})
        self.asked = {"command": self.subcommand, "ckpt_path": config.ckpt_path}
        changes = self.directory.differences(self.record, self.asked)
        other, self.longer, _ = sorted_out(changes, self.directory.config, self.record)
        if other or (self.longer and self.subcommand != "fit"):
            changes = [*other, *self.longer]
            raise Refused(f"run {name} has another config: {'; '.join(changes)}; give this one another --run")
        self.directory.longer = bool(self.longer)
        if self.directory.begun and not self.directory.finished:
            check_stepping(self.directory.config)
        if self.alone and (left := ranks_left()):
            self.notes.append(f"{left} in the environment is ignored: this run has one process")
        if self.subcommand == "fit":
            self._find_checkpoint(config)
        self.notes += prepare_wandb(_as_list(config.trainer.logger), self.directory, tags_of(config))

    def _find_checkpoint(self, config: Namespace) -> None:
        """Go on from the run's own last checkpoint, or from one that fits what is asked for.

        Raises:
            Refused: If it holds another model, or has all the epochs already.
        """
        last, reasons = newest_good(self.directory.path / "checkpoints") if self.directory.begun else (None, [])
        if reasons and not last:
            raise Refused(f"run {self.directory.path.name} has no checkpoint that could be used: {'; '.join(reasons)}")
        self.notes += [*reasons, f"going on from {last}"] if reasons else []
        if self.longer:
            saved = load_checkpoint(str(last)) if last else {}
            saved |= saved.get(CUT, {})  # the last epoch, if a bound has cut it, will be gone on with
            check_longer(self.directory.path.name, self.directory.config, self.record, saved)
            self.notes.append(f"trains longer: {'; '.join(self.longer)}")
        if last:
            config.ckpt_path = str(last)
        elif config.ckpt_path:
            checkpoint = load_checkpoint(config.ckpt_path)
            stored, done, epochs = checkpoint.get(CONFIG), finished_epochs(checkpoint), config.trainer.max_epochs
            if stored and (changes := different(stored["model"], self.record["model"], "model")):
                raise Refused(f"--ckpt_path: fit goes on with the model it was saved with; {'; '.join(changes)}")
            self.notes += [f"other than when it was saved: {line}" for line in different(stored or {}, self.record)]
            if epochs is not None and 0 < epochs <= done:
                raise Refused(f"--trainer.max_epochs is {epochs}, but the checkpoint has {done} epochs behind it")
            steps = int(checkpoint.get("global_step", 0))
            self.directory.note = {"begun_from": {"checkpoint": str(config.ckpt_path), "epochs": done, "steps": steps}}
            self.notes.append(f"begins behind epoch {done} of {config.ckpt_path}, whose tables have what was before")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer around the run directory."""
        config = self._get(self.config_init, "trainer")
        fits = self.subcommand == "fit"
        check_names(_as_list(config.callbacks))
        callbacks = [EndTogether(), FinishedEpochs(), *_as_list(config.callbacks)]
        shown = config.enable_progress_bar is not False and sys.stderr.isatty()
        bar = RunProgressBar()
        own_bar = shown and not any(isinstance(callback, ProgressBar) for callback in callbacks)
        if fits and config.enable_checkpointing is not False and not config.fast_dev_run:
            stop = StopOnSignal(bar.say_soon, bar.leave_at_once) if own_bar else StopOnSignal()
            callbacks = [stop, *callbacks, LastCheckpoint(self.directory.path, self.record, stop)]
        if fits:
            callbacks.insert(0, FiniteLoss())
        if fits and not any(isinstance(callback, ExactResume) for callback in callbacks):
            callbacks.insert(0, ExactResume(int(self._get(self.config_init, "seed_everything") or 0)))
        if self.subcommand == "predict" and isinstance(self.model, Classifier):
            callbacks.append(Predictions())
        if any(isinstance(logger, WandbLogger) for logger in _as_list(config.logger)):
            callbacks.append(WandbMirror(self.directory.path, short_config(self.record)))
        if own_bar:
            callbacks.insert(0, bar)  # begun before, and gone before, others say something
        plugins = _as_list(config.plugins)
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(WholeFiles(self.record["trainer"] if fits else None))
        if self.alone and not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
            plugins.append(OneProcess())
        own: dict[str, Any] = {
            "plugins": plugins,
            "logger": [
                MetricsFile(self.directory.path),
                *(x for x in _as_list(config.logger) if isinstance(x, Logger)),
            ],
            "callbacks": callbacks,
            "default_root_dir": str(self.directory.path),
            # our data modules deal out the samples themselves, exactly
            "use_distributed_sampler": config.use_distributed_sampler
            and not isinstance(self.datamodule, ImageDataModule),
            "enable_progress_bar": shown,
            "enable_checkpointing": config.enable_checkpointing is not False
            and any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        }
        trainer = super().instantiate_trainer(**own, **kwargs)
        set_rank(trainer.global_rank)
        return trainer

    def check(self) -> None:
        """Look for everything that would stop the run, without writing anything.

        Raises:
            Refused: If there are no data, or checkpoint and network do not fit.
            ValueError: If data are damaged, or a tap does not exist.
        """
        fits, checkpoint = self.subcommand == "fit", self._get(self.config, "ckpt_path")
        check_number(self.trainer)
        check_trainer(self.trainer)
        if fits and self.trainer.checkpoint_callbacks and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            check_parts(self.model, self.datamodule, self.trainer.callbacks)  # type: ignore[attr-defined]
        if checkpoint:
            check_weights(checkpoint, self.model)
            check_going_on(checkpoint, self.trainer, self.model, fits)
        if self.datamodule is None and not is_overridden("train_dataloader", self.model):
            raise Refused("--data is missing: give a data set, such as --data Digits, or a --config that names one")
        if not isinstance(self.datamodule, ImageDataModule):
            return  # others may not be ready before the trainer is
        self.datamodule.trainer = self.trainer
        if _first():
            self.datamodule.prepare_data()
        self.datamodule.setup()
        self.data_hashes = self.datamodule.content_hashes()
        self.sizes = {name: len(data) for name, data in self.datamodule.sets.items()}
        self.directory.check_data(self.data_hashes)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Pretrained) and fits and not checkpoint:
                callback.load(self.model)  # now, as it may not fit
        self.notes += check_together(self.trainer, self.model, self.datamodule, str(self.subcommand))

    @wandb_finished()
    def start(self) -> None:
        """Make the run directory and run."""
        subcommand = str(self.subcommand)
        if _first():
            going_on = self.directory.begun
            words = masked_words(sys.argv, self.config_dump)
            self.directory.claim(self.record, self.asked, self.data_hashes, self.sizes, words)
            self._announce(going_on)
        try:
            for note in begin_wandb(self.trainer.loggers, self.directory) if _first() else []:
                _say(note)
            with named_for_others(self.directory.path.name), messages_above(self.trainer.progress_bar_callback):
                super()._run_subcommand(subcommand)
        except Interrupted as interruption:
            self._interrupted(interruption)
        except BaseException:
            if _first():
                self.directory.end("failed")
            raise
        if subcommand in {"validate", "test"} and isinstance(self.model, Classifier):
            self._say_metrics()
        if _first() and self.trainer.state.status == TrainerStatus.FINISHED and not self.trainer.received_sigterm:
            self.directory.end("finished")
            _say(f"done: {self.directory.path}")
            if (picture := self.directory.path / "separability.png").is_file():
                _say(f"picture: {picture}")

    def _interrupted(self, interruption: Interrupted) -> NoReturn:
        """Record it, and end with the signal's code.

        Raises:
            SystemExit: Always.
        """
        if _first():
            self.directory.end("interrupted" if interruption.number else "stopped")
            again = requeue() if interruption.number == signal.SIGUSR1 else ""
            print(f"stratoscope: {one_printable_line(interruption)}{f'; {again}' if again else ''}", file=sys.stderr)
        # a process that ends with another code than 0 makes Lightning kill the first one, which may be busy still
        raise SystemExit(interruption.code if _first() else 0)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """The arguments of the trainer's method; a Classifier's metrics are said by set, not by Lightning."""
        words = super()._prepare_subcommand_kwargs(subcommand)
        return words | {"verbose": False} if "verbose" in words and isinstance(self.model, Classifier) else words

    def _say_metrics(self) -> None:
        by_set: dict[str, list[str]] = {}
        for name, value in self.trainer.callback_metrics.items():
            if "/" in name and not name.startswith("probe/"):  # those are in a table
                part, metric = name.rsplit("/", 1)
                by_set.setdefault(part, []).append(f"{metric} {float(value):.4f}")
        for part, metrics in by_set.items():
            _say(f"{part}: {', '.join(metrics)}")

    def _announce(self, going_on: bool) -> None:
        parameters = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        trainer = self.trainer
        _say(f"{'going on in' if going_on else 'run directory'} {self.directory.path}")
        if isinstance(self.datamodule, ImageDataModule):
            _say(self.datamodule.summary())
        place = f"{trainer.num_devices} x {trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}"
        _say(f"{type(self.model).__name__}: {parameters:,} parameters, on {place} ({torch.get_num_threads()} threads)")
        for note in self.notes:
            _say(note)


def build(args: Sequence[str], trusted: bool = False, complete: bool = False) -> Command:
    """Parse the command line, build all objects and check them; nothing is written.

    Args:
        args: The words after `stratoscope`.
        trusted: Whether the whole config of a checkpoint is taken, see `stratoscope.run.trust`.
        complete: Whether the config is whole without that of a checkpoint.

    Raises:
        Refused: If the input cannot be run.
        SystemExit: After --help, --version and the like.
    """
    found, notes = list(args), list[str]()
    try:
        found = with_configs_found(found)
        check_keys(found)
        words = with_configs_first(found)
        if not complete:
            words, notes = with_checkpoint_config(words, trusted)
        command = Command(
            trainer_defaults={"max_epochs": 70, "num_sanity_val_steps": 0, "enable_model_summary": False},
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={
                "description": "Train on true or corrupted data; know at every epoch what every layer knows. "
                "`stratoscope list` names all networks, data sets and corruptions. "
                "`--trust` takes the whole config of a checkpoint or run directory, classes of any package too.",
                "prog": "stratoscope",
                "version": stratoscope.__version__,
            },
            save_config_callback=None,
            auto_configure_optimizers=False,
            args=words,
        )
        if command.directory.finished:
            return command
        command.notes += notes
        command.check()
    except Refused:
        raise
    except Exception as error:
        raise Refused(one_line(str(error), found)) from error
    return command


def run_command(words: Sequence[str], complete: bool = False) -> int:
    """Train, validate, test or predict.

    Args:
        words: The words after `stratoscope`; `--trust` is one for `build`.
        complete: As for `build`.

    Returns:
        The exit code, 0.

    Raises:
        Refused: If the input cannot be run.
        NotFinite: If a loss is NaN or infinite.
        OSError: If something cannot be written.
        SystemExit: If the run was interrupted.
    """
    trusted = "--trust" in words
    try:
        command = build([word for word in words if word != "--trust"], trusted, complete)
        if command.directory.finished:
            _say(f"run {command.directory.path} is already finished; to run it again give another --run")
        else:
            command.start()
    except UnreadableBatch as error:  # other people's batches are seen when the loaders are made
        raise Refused(str(error)) from error
    return 0


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _short(config: Any) -> str:
    return str(config.class_path).rsplit(".", 1)[-1] if config else ""


def _first() -> bool:
    """Whether this is the first of several processes."""
    return not getattr(rank_zero_only, "rank", 0)


@rank_zero_only
def _say(line: str) -> None:
    print(printable(line), flush=True)
