"""A W&B workspace that shows what Stratoscope records: learning curves, and probes by layer.

The panels are those of the extra `wandb` (wandb-workspaces); `stratoscope workspace ENTITY/PROJECT` saves them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stratoscope.commands.parser import OneLineParser
from stratoscope.errors import Refused
from stratoscope.experiments.experiment import FULL
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import chosen_scale

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace  # pyright: ignore[reportMissingImports]

# heading, and the metrics in it, for a server whose regular expressions may have no look-ahead
CURVES = {
    "Accuracy": r"^[^/]+/accuracy$",
    "Loss": r"^[^/]+/loss$",
    "Accuracy on corrupted and untouched labels": r"^train/accuracy_(corrupted|untouched)$",
}
PROBES = {
    "Probes: true labels, test set": r"^probe/true_label/test/.+",
    "Probes: given labels, training set": r"^probe/given_label/train/.+",
}


def workspace(entity: str, project: str, experiment: str = "", scale: str = FULL) -> "Workspace":
    """Build the workspace; nothing is sent.

    Args:
        entity: W&B's user or team.
        project: The project there.
        experiment: Show the runs of this experiment only.
        scale: At this scale.

    Raises:
        Refused: If the extra is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as reports  # pyright: ignore[reportMissingImports]
        import wandb_workspaces.workspaces as workspaces  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Refused("a workspace needs an extra: pip install 'stratoscope[wandb]'") from error

    def lines(title: str, pattern: str) -> reports.LinePlot:
        return reports.LinePlot(title=title, x="epoch", metric_regex=pattern, title_x="epoch")

    from stratoscope.fit.wandb_setup import group_of  # which imports Lightning

    def section(name: str, panels: list[reports.interface.PanelTypes], columns: int) -> workspaces.Section:
        layout = workspaces.SectionLayoutSettings(columns=columns, rows=1)
        axis = workspaces.SectionPanelSettings(x_axis="epoch")
        return workspaces.Section(name=name, panels=panels, is_open=True, layout_settings=layout, panel_settings=axis)

    pictures = [
        reports.MediaBrowser(title="Layers x epochs", media_keys=["separability"], num_columns=1),
        reports.WeavePanelSummaryTable(table_name="probes"),
    ]
    sections = [
        section("Learning curves", [lines(title, pattern) for title, pattern in CURVES.items()], len(CURVES)),
        *(section(title, [lines("by layer", pattern)], 1) for title, pattern in PROBES.items()),
        section("Separability", pictures, 2),
    ]
    runs = workspaces.RunsetSettings(
        filters=[workspaces.Metric("Group") == group_of(experiment, scale)] if experiment else [],
        pinned_columns=["summary:final/test/accuracy", "summary:best/test/accuracy", "config:data.corruption"],
    )
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"Stratoscope {group_of(experiment, scale)}" if experiment else "Stratoscope",
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis="epoch"),
        runset_settings=runs,
    )


def parser(command: str = "workspace") -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(f"stratoscope {command}", description="Save a W&B workspace that shows what is recorded.")
    made.add_argument("project", metavar="ENTITY/PROJECT")
    made.add_argument("experiment", nargs="?", default="", help="show the runs of this experiment only")
    made.add_argument("--scale", default=FULL, help="at this scale")
    return made


def save_workspace(words: Sequence[str]) -> int:
    """The command: save the workspace to W&B, and print its address.

    Args:
        words: The command line.

    Returns:
        The exit code, 0.

    Raises:
        Refused: If the input makes no sense, or W&B does not take it.
    """
    asked = parser().parse_args(words[1:])
    entity, _, project = asked.project.partition("/")
    if not entity or not project or "/" in project:
        raise Refused(f"workspace takes ENTITY/PROJECT, got {asked.project}")
    name = asked.experiment
    if name:
        experiment = read_experiment(name)
        chosen_scale(experiment, asked.scale)
        name = experiment.name
    view = workspace(entity, project, name, asked.scale)
    try:
        print(view.save().url)
        return 0
    except Exception as error:
        raise Refused(f"workspace: W&B did not take it: {' '.join(str(error).split())[:200]}") from error
