"""Write the report: tables, figures and a self-contained HTML page, which opens from disk, without a network."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from adnet.errors import UserError
from adnet.report import tables
from adnet.report.analysis.pooling import Comparison, differing_settings, pool
from adnet.report.captions import caption
from adnet.report.figures import plots
from adnet.report.figures.gallery import strip_gallery, worst_gallery
from adnet.report.figures.plot import Plot, data_uri, slug
from adnet.report.figures.similarity_explorer import embedded_sequences, similarity_plot
from adnet.report.read import Run, paper_tables
from adnet.report.table import Table, to_csv, to_latex, to_markdown
from adnet.shared.files import draft_of
from adnet.shared.templates import TEMPLATES

GENERATOR = "adnet report"
TITLE = "Anchor diffusion for unsupervised video object segmentation"
STRIP_WIDTH = 240  # pixels of each frame in the page's pictures: sharp on high-resolution screens
EXPLORER_SEQUENCES = 4
EMBEDDING_BUDGET = 3_500_000  # bytes of embeddings on the page; their base64 takes a third more


def write_report(
    runs: Sequence[Run],
    output: Path,
    *,
    title: str = TITLE,
    strip_sequences: int = 6,
    strip_frames: int = 5,
    worst_frames: int = 8,
) -> Path:
    """Write a report on `runs` into the folder `output`; return its `index.html`.

    Args:
        strip_sequences: sequences shown as overlay strips, half of them the hardest and half the easiest; 0: none.
        strip_frames: frames per strip.
        worst_frames: frames per variant in the gallery of worst frames; 0: none.

    An existing report in `output` is replaced as a whole. Raises UserError, before anything is written, if `output` holds anything
    else.
    """
    _check_output(output, [run.folder for run in runs])
    with draft_of(output) as scratch:
        draft = scratch / "new"
        figures = draft / "figures"
        figures.mkdir(parents=True)
        found = pool(runs)
        sections = []
        for number, comparison in enumerate(found):
            # The files of the first are called `table1` and so on; those of the others end in a name of their own.
            key = slug(f"{number + 1}-{comparison.dataset}-{comparison.split}-{comparison.protocol}")
            suffix = f"-{key}" if number else ""
            strips = strip_gallery(comparison, figures, f"masks{suffix}", strip_sequences, strip_frames, STRIP_WIDTH)
            worst = worst_gallery(comparison, figures, f"worst{suffix}", worst_frames, STRIP_WIDTH)
            sections.append(_section(comparison, found, suffix, figures) | {"strips": strips, "worst": worst})
        text = TEMPLATES.get_template("report/page.html.j2").render(
            generator=GENERATOR,
            title=title,
            introduction=caption("introduction", runs, sections),
            properties=_properties(runs, found),
            sections=sections,
            explorer=_explorer(found, figures),
            saliency=_saved(tables.saliency_table(found), draft),
            runs=_saved(tables.run_table(runs), draft),
            training_plot=_shown(plots.training_plot(runs), figures),
            source=paper_tables()["source"],
        )
        (draft / "index.html").write_text(text, encoding="utf-8")
        with suppress(FileNotFoundError):  # there is no old report, or another process has just moved it away
            os.replace(output, scratch / "old")
        os.replace(draft, output)
    return output / "index.html"


def _check_output(output: Path, runs: Iterable[Path]) -> None:
    if output.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise UserError(f"output={output}: the report replaces its whole folder; give it a folder of its own")
    if output.is_file():
        raise UserError(f"output={output}: this is a file; give a folder for the report")
    if output.is_dir() and any(output.iterdir()):
        page = output / "index.html"
        if not page.is_file() or f'content="{GENERATOR}"' not in page.read_text(encoding="utf-8", errors="replace"):
            raise UserError(f"output={output}: the folder holds something that is not a report; give another folder")
        for run in runs:
            if output.resolve() in (run.resolve(), *run.resolve().parents):
                raise UserError(f"output={output}: runs={run} is inside the report that would be replaced; move one")


def _section(comparison: Comparison, found: Sequence[Comparison], suffix: str, figures: Path) -> dict[str, Any]:
    """Save the tables and figures of a comparison, whose names end in `suffix`; return them by their names in the template."""
    saved = {
        "scores": tables.score_table(comparison, f"table1{suffix}"),
        "differences": tables.difference_table(comparison, f"differences{suffix}"),
        "comparison": tables.comparison_table(comparison, found, f"table2{suffix}"),
        "saliency": tables.convention_table(comparison, f"saliency{suffix}"),
    }
    shown = {
        "score_plot": plots.score_plot(comparison, f"scores{suffix}"),
        "sequence_plot": plots.sequence_plot(comparison, f"sequences{suffix}"),
        "attribute_plot": plots.attribute_plot(comparison, f"attributes{suffix}"),
        "drift_plot": plots.drift_plot(comparison, f"drift{suffix}"),
        "precision_recall_plot": plots.precision_recall_plot(comparison, f"precision_recall{suffix}"),
    }
    return {
        "title": _comparison_title(comparison),
        **{name: _saved(table, figures.parent) for name, table in saved.items()},
        **{name: _shown(plot, figures) for name, plot in shown.items()},
    }


def _explorer(found: Sequence[Comparison], figures: Path) -> dict[str, Any] | None:
    for comparison in found:
        embedded, left_out = embedded_sequences(comparison, EMBEDDING_BUDGET, EXPLORER_SEQUENCES)
        if embedded:
            return {
                "data": json.dumps([item.page_data() for item in embedded]),
                "script": files("adnet.report.figures").joinpath("similarity_explorer.js").read_text(encoding="utf-8"),
                "plot": _shown(similarity_plot(embedded), figures),
                "note": f"Left out to keep the page small: {'; '.join(left_out)}." if left_out else "",
            }
    return None


def _saved(table: Table | None, folder: Path) -> Table | None:
    if table is not None:
        for ending, form in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
            (folder / f"{table.name}.{ending}").write_text(form(table), encoding="utf-8")
    return table


def _shown(plot: Plot | None, figures: Path) -> dict[str, str] | None:
    if plot is None:
        return None
    # SVG is sharp on screen and in print, and smaller than a bitmap of the same lines.
    source = data_uri("image/svg+xml", plot.save(figures).encode())
    return {"name": plot.name, "caption": plot.caption, "source": source}


def _comparison_title(comparison: Comparison) -> str:
    return f"{comparison.dataset} {comparison.split}, protocol {comparison.protocol}"


def _properties(runs: Sequence[Run], found: Sequence[Comparison]) -> list[tuple[str, str]]:
    """List what is known about the runs, as (name, value). Where runs differ, the value lists all of them."""
    seconds = [run.summary["seconds"] for run in runs if run.summary.get("seconds") is not None]
    versions: dict[str, list[Any]] = defaultdict(list)
    for run in runs:
        for package, version in (run.summary.get("versions") or {}).items():
            versions[package].append(version)
    properties = [
        ("Trained on", _distinct(run.summary.get("dataset") for run in runs)),
        (
            "Scored on",
            "; ".join(f"{_comparison_title(b)} ({(n := len(b.sequences))} sequence{'s' * (n != 1)})" for b in found),
        ),
        ("Checkpoint", _distinct(sorted({e.weights for run in runs if run.trained for e in run.evaluations}))),
        ("Steps", _distinct(run.summary.get("steps") for run in runs)),
        ("Training time", f"{tables.duration(sum(seconds))} in all" if seconds else ""),
        ("Encoder", _distinct(run.config.get("model.encoder.backbone") for run in runs)),
        ("Parameters", _distinct(run.summary.get("parameters") for run in runs)),
        ("Commit", _distinct(run.summary.get("git_commit") for run in runs)),
        ("Versions", ", ".join(f"{package} {_distinct(values, ' / ')}" for package, values in versions.items())),
        *((f"Runs of {variant} differ in", ", ".join(keys)) for variant, keys in differing_settings(runs).items()),
    ]
    return [(name, value) for name, value in properties if value]


def _distinct(values: Iterable[Any], separator: str = ", ") -> str:
    texts = (f"{value:,}" if isinstance(value, int) else str(value) for value in values if value is not None)
    return separator.join(dict.fromkeys(texts))
