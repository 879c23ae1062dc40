"""Make the team's W&B workspace: `python -m adnet.dashboard [project=adnet] [entity=TEAM] [sweep=SWEEP_FOLDER]`.

Shows bars of the ablation with error bands, curves by variant, overlays, the sweep's table and the speed, from what
`logger=wandb` logs. Without a login, writes the spec of the workspace to `output`, a JSON file.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from adnet.errors import UserError
from adnet.shared.command import command
from adnet.shared.files import write_json

VARIANT = "model.variant"


@command("dashboard")
def main(cfg: DictConfig) -> None:
    from adnet.training.loggers import wandb_login

    login = wandb_login()
    view = workspace(cfg.project, cfg.entity or "", cfg.name, cfg.sweep)
    if login:
        if not cfg.entity:
            import wandb

            view.entity = wandb.Api().default_entity
        print(view.save().url)
        return
    output = Path(cfg.output)
    if output.exists() and not cfg.overwrite:
        raise UserError(f"{output} is there already; give another output, or overwrite=true")
    # The library has no public method for this.
    write_json(output, view._to_model().model_dump(mode="json", by_alias=True, exclude_none=True), cfg.overwrite)
    print(f"{output}: the workspace's spec; after `wandb login`, the same command makes the workspace")


def workspace(project: str, entity: str, name: str, sweep: str | None = None) -> Any:
    """Build a `wandb_workspaces.workspaces.Workspace` of the runs of `project`, or of one sweep.

    Raises UserError without wandb-workspaces.
    """
    try:
        reports: Any = import_module("wandb_workspaces.reports.v2")  # its type stubs are incomplete
        workspaces: Any = import_module("wandb_workspaces.workspaces")
        expressions: Any = import_module("wandb_workspaces.expr")
    except ImportError as error:
        raise UserError("adnet.dashboard needs the extra: pip install 'adnet[wandb]'") from error

    by_variant: dict[str, Any] = {"groupby": reports.Config(VARIANT), "groupby_aggfunc": "mean"}

    def bars(metric: str, title: str) -> Any:
        return reports.BarPlot(
            title=title, metrics=[reports.SummaryMetric(metric)], groupby_rangefunc="stderr", **by_variant
        )

    def curves(metric: str, title: str) -> Any:
        return reports.LinePlot(
            title=title, x="trainer/global_step", y=[metric], groupby_rangefunc="stddev", **by_variant
        )

    def chart(key: str, x: str, y: str, title: str) -> Any:
        return reports.CustomChart(
            query={"summaryTable": {"tableKey": f"{key}_table"}},
            chart_name="wandb/line/v0",
            chart_fields={"x": x, "y": y},
            chart_strings={"title": title},
        )

    sections = {
        "Ablation": [
            bars("evaluation/J", "J by variant, standard error over seeds"),
            bars("evaluation/F", "F by variant, standard error over seeds"),
        ],
        "Curves by variant": [
            curves("val/J", "J while training"),
            curves("val/F", "F while training"),
            curves("train/loss", "Loss"),
            curves("val/cosine_distance", "Distance of the foreground to the first frame's"),
            curves("train/lr", "Learning rate"),
            curves("train/gradient_norm", "Gradient norm"),
        ],
        "Overlays": [
            reports.MediaBrowser(
                title="Prediction and annotation over time",
                media_keys=["val/overlays"],
                mode="grid",
                grid_x_axis="step",
                grid_y_axis="run",
            )
        ],
        "Precision, recall and consistency": [
            chart("val/precision_recall", "recall", "precision", "Precision and recall"),
            chart("val/consistency", "time", "cosine distance", "Temporal consistency (Figure 3)"),
        ],
        "Sweep": [
            reports.WeavePanelSummaryTable(table_name="evaluation/sequences"),
            reports.RunComparer(diff_only="split"),
        ],
        "Speed": [
            curves("train/pairs_per_second", "Pairs per second"),
            curves("train/data_wait", "Share of the time spent waiting for data"),
        ],
    }
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[workspaces.Section(name=title, panels=panels, is_open=True) for title, panels in sections.items()],
        settings=workspaces.WorkspaceSettings(x_axis="trainer/global_step", max_runs=50),
        runset_settings=workspaces.RunsetSettings(
            filters=[expressions.Metric("Group") == sweep] if sweep else "",
            groupby=[expressions.Config(VARIANT)],
            pinned_columns=[f"config:{VARIANT}", "config:seed", "summary:evaluation/J", "summary:evaluation/F"],
        ),
    )


if __name__ == "__main__":
    main()
