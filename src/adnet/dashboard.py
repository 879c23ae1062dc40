"""Make the team's W&B workspace: `python -m adnet.dashboard [project=adnet] [entity=TEAM] [sweep=SWEEP_FOLDER]`.

Shows bars of the ablation with error bands, curves by variant, overlays, the sweep's table and the speed, from what
`logger=wandb` logs. Without a login, writes the spec of the workspace to `output`, a JSON file.
"""

from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from adnet.shared.command import command
from adnet.shared.files import write_json
from adnet.shared.machine import need_extra

VARIANT = "model.variant"
PLOTS = yaml.safe_load(files("adnet").joinpath("dashboard.yaml").read_text(encoding="utf-8"))


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
    # The library has no public method for this.
    write_json(output, view._to_model().model_dump(mode="json", by_alias=True, exclude_none=True), cfg.overwrite)
    print(f"{output}: the workspace's spec; after `wandb login`, the same command makes the workspace")


def workspace(project: str, entity: str, name: str, sweep: str | None = None) -> Any:
    """Build a `Workspace` of the runs of `project`, or of one sweep. Raises UserError without wandb-workspaces."""
    need_extra("wandb", "wandb_workspaces", "adnet.dashboard")
    reports: Any = import_module("wandb_workspaces.reports.v2")  # its type stubs are incomplete
    workspaces: Any = import_module("wandb_workspaces.workspaces")
    expressions: Any = import_module("wandb_workspaces.expr")
    by_variant: dict[str, Any] = {"groupby": reports.Config(VARIANT), "groupby_aggfunc": "mean"}

    def bars(measure: str) -> Any:
        title = f"{measure} by variant, standard error over seeds"
        metrics = [reports.SummaryMetric(f"evaluation/{measure}")]
        return reports.BarPlot(title=title, metrics=metrics, groupby_rangefunc="stderr", **by_variant)

    def curves(titles: dict[str, str]) -> list[Any]:
        common = {"x": "trainer/global_step", "groupby_rangefunc": "stddev", **by_variant}
        return [reports.LinePlot(title=title, y=[metric], **common) for metric, title in titles.items()]

    def chart(key: str, x: str, y: str, title: str) -> Any:
        return reports.CustomChart(
            query={"summaryTable": {"tableKey": f"{key}_table"}},
            chart_name="wandb/line/v0",
            chart_fields={"x": x, "y": y},
            chart_strings={"title": title},
        )

    grid = {"mode": "grid", "grid_x_axis": "step", "grid_y_axis": "run"}
    media = reports.MediaBrowser(title="Prediction and annotation over time", media_keys=["val/overlays"], **grid)
    sections = {
        "Ablation": [bars("J"), bars("F")],
        "Curves by variant": curves(PLOTS["curves"]),
        "Overlays": [media],
        "Precision, recall and consistency": [chart(key, *drawn) for key, drawn in PLOTS["tables"].items()],
        "Sweep": [
            reports.WeavePanelSummaryTable(table_name="evaluation/sequences"),
            reports.RunComparer(diff_only="split"),
        ],
        "Speed": curves(PLOTS["speed"]),
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
