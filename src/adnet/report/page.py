"""The report itself: tables, figures and one self-contained page, written in one go.

build_report([Path("runs")], Path("report"))     # report/index.html opens from disk, without a network
"""

from __future__ import annotations

import base64
import csv
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from adnet.errors import UserError
from adnet.report.figures import Plot, score_plot, sequence_plot, training_plot
from adnet.report.paper import paper_tables
from adnet.report.pooling import Benchmark, differing_settings, pool
from adnet.report.runs import Run, find_runs
from adnet.report.strips import Strip, overlay_strips
from adnet.report.table import Table, to_csv, to_latex, to_markdown
from adnet.report.tables import comparison_table, difference_table, duration, run_table, score_table

GENERATOR = "adnet report"
PICTURE_BUDGET = 6_000_000  # bytes of JPEG on the page; base64 makes 8 MB of them, plots come on top


def build_report(
    runs: Sequence[Path],
    output: Path,
    *,
    title: str = "Anchor diffusion for unsupervised video object segmentation",
    strip_sequences: int = 6,
    strip_frames: int = 5,
    strip_width: int = 240,
) -> Path:
    """Write the report on every finished run at or below `runs` into the folder `output`; return its `index.html`.

    Overlay strips show `strip_sequences` sequences (hardest and easiest; 0: none), `strip_frames` frames each, a frame
    `strip_width` pixels wide. A report that is already in `output` is replaced as a whole. Raises UserError if `output`
    holds anything else, no finished run is found, or a file of a run can't be understood; nothing is written then.
    """
    for name, value, least in (
        ("strip_sequences", strip_sequences, 0),
        ("strip_frames", strip_frames, 1),
        ("strip_width", strip_width, 16),
    ):
        if not isinstance(value, int) or value < least:
            raise UserError(f"{name}={value}: expected a whole number, {least} or more")
    _check_output(output, runs)
    found = find_runs(runs)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as scratch:
        draft = Path(scratch) / "new"
        draft.mkdir()
        _write(draft, found, title, strip_sequences, strip_frames, strip_width)
        if output.exists():
            os.replace(output, Path(scratch) / "old")
        os.replace(draft, output)
    return output / "index.html"


def _check_output(output: Path, runs: Iterable[Path]) -> None:
    if output.is_file():
        raise UserError(f"output={output}: this is a file; give a folder for the report")
    if output.is_dir() and any(output.iterdir()):
        page = output / "index.html"
        if not page.is_file() or f'content="{GENERATOR}"' not in page.read_text(encoding="utf-8", errors="replace"):
            raise UserError(f"output={output}: the folder holds something that is not a report; give another folder")
        for run in runs:
            if output.resolve() in (run.resolve(), *run.resolve().parents):
                raise UserError(f"output={output}: runs={run} lies in the report that would be replaced; move one")


def _write(folder: Path, runs: Sequence[Run], title: str, sequences: int, frames: int, width: int) -> None:
    figures = folder / "figures"
    figures.mkdir()
    found = pool(runs)
    sections = []
    budget = PICTURE_BUDGET
    for number, benchmark in enumerate(found):
        # The first benchmark has the plain names; others carry their own.
        key = f"{number + 1}-{benchmark.dataset}-{benchmark.split}-{benchmark.protocol}"
        suffix = f"-{_slug(key)}" if number else ""
        strips, notes, spent = _strips(benchmark, figures, f"masks{suffix}", sequences, frames, width, budget)
        budget -= spent
        comparison = comparison_table(benchmark, f"table2{suffix}")
        sections.append(
            {
                "title": _benchmark_title(benchmark),
                "scores": _saved(score_table(benchmark, f"table1{suffix}"), folder),
                "score_plot": _shown(score_plot(benchmark, f"scores{suffix}"), figures),
                "differences": _saved(difference_table(benchmark, f"differences{suffix}"), folder)
                if len(benchmark.results) > 1
                else None,
                "sequence_plot": _shown(sequence_plot(benchmark, f"sequences{suffix}"), figures),
                "strips": strips,
                "strips_name": f"masks{suffix}",
                "strips_caption": "Predicted masks in magenta, the annotation's outline in white; hardest sequences "
                f"first. Each strip shows {frames} frames, evenly spaced in time, of the variant's first run.",
                "notes": notes,
                "comparison": _saved(comparison, folder) if comparison else None,
            }
        )
    curves = training_plot(runs)
    environment = Environment(
        loader=PackageLoader("adnet.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.j2").render(
        generator=GENERATOR,
        title=title,
        lead=_lead(runs, found),
        facts=_facts(runs, found),
        sections=sections,
        runs=_saved(run_table(runs), folder),
        training_plot=_shown(curves, figures) if curves else None,
        source=paper_tables()["source"],
    )
    (folder / "index.html").write_text(text, encoding="utf-8")


def _strips(
    benchmark: Benchmark, figures: Path, name: str, sequences: int, frames: int, width: int, budget: int
) -> tuple[list[list[dict[str, str]]], list[str], int]:
    """Save the strips; return them as the page shows them, what it must say about missing ones, and their bytes."""
    if sequences == 0:
        return [], [], 0
    groups = overlay_strips(benchmark, sequences=sequences, frames=frames, width=width)
    if not groups:
        roots = {str(e.root) for r in benchmark.results for e in r.evaluations[:1] if e.root is not None}
        where = f"under {', '.join(sorted(roots))}" if roots else "because evaluation.json names no dataset folder"
        reason = f"The overlay strips are left out: no pair of frame and mask was found {where}."
        return [], [reason], 0
    shown: list[list[dict[str, str]]] = []
    left_out: list[str] = []
    spent = 0
    rows = []
    for group in groups:
        pictures = [strip.jpeg() for strip in group]
        if spent + sum(map(len, pictures)) > budget:
            left_out.append(group[0].sequence)
            continue
        spent += sum(map(len, pictures))
        for strip in group:
            file = figures / f"{_slug(f'{name}-{strip.sequence}-{strip.label}')}.png"
            Image.fromarray(strip.picture).save(file)
            scores = (round(100 * score, 4) for score in (strip.J, strip.F))
            rows.append((strip.sequence, strip.label, *scores, " ".join(strip.frames)))
        shown.append([_strip_fields(strip, picture) for strip, picture in zip(group, pictures, strict=True)])
    with (figures / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([("sequence", "variant", "J", "F", "frames"), *rows])
    notes = [f"Left out to keep the page small: the strips of {', '.join(left_out)}."] if left_out else []
    return shown, notes, spent


def _strip_fields(strip: Strip, picture: bytes) -> dict[str, str]:
    return {
        "sequence": strip.sequence,
        "label": strip.label,
        "J": f"{100 * strip.J:.1f}",
        "F": f"{100 * strip.F:.1f}",
        "alt": f"{strip.sequence}, {strip.label}, frames {', '.join(strip.frames)}",
        "source": _data_uri("image/jpeg", picture),
    }


def _saved(table: Table, folder: Path) -> Table:
    for ending, form in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
        (folder / f"{table.name}.{ending}").write_text(form(table), encoding="utf-8")
    return table


def _shown(plot: Plot, figures: Path) -> dict[str, str]:
    """SVG: sharp on any screen and in print, and smaller than a picture of the same lines."""
    source = _data_uri("image/svg+xml", plot.save(figures).encode())
    return {"name": plot.name, "caption": plot.caption, "source": source}


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _benchmark_title(benchmark: Benchmark) -> str:
    return f"{benchmark.dataset} {benchmark.split}, protocol {benchmark.protocol}"


def _lead(runs: Sequence[Run], found: Sequence[Benchmark]) -> str:
    variants = len({run.variant for run in runs})
    lead = f"{_count(len(runs), 'run')} of {_count(variants, 'variant')}"
    if not found:
        return f"{lead}."
    return f"{lead}, scored on {'; '.join(_benchmark_title(benchmark) for benchmark in found)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _facts(runs: Sequence[Run], found: Sequence[Benchmark]) -> list[tuple[str, str]]:
    """What a reader needs to judge the numbers; a fact in which runs differ is listed with all its values."""
    seconds = [run.summary["seconds"] for run in runs if run.summary.get("seconds") is not None]
    versions: dict[str, list[Any]] = {}
    for run in runs:
        for package, version in (run.summary.get("versions") or {}).items():
            versions.setdefault(package, []).append(version)
    facts = [
        ("Trained on", _distinct(run.summary.get("dataset") for run in runs)),
        ("Scored on", "; ".join(f"{_benchmark_title(b)} ({_count(len(b.sequences), 'sequence')})" for b in found)),
        ("Checkpoint", _distinct(sorted({e.weights for run in runs for e in run.evaluations}))),
        ("Steps", _distinct(run.summary.get("steps") for run in runs)),
        ("Training time", f"{duration(sum(seconds))} in all" if seconds else ""),
        ("Encoder", _distinct(run.config.get("model.encoder.backbone") for run in runs)),
        ("Parameters", _distinct(run.summary.get("parameters") for run in runs)),
        ("Commit", _distinct(run.summary.get("git_commit") for run in runs)),
        ("Versions", ", ".join(f"{package} {_distinct(values, ' / ')}" for package, values in versions.items())),
    ]
    for variant, keys in differing_settings(runs).items():
        facts.append((f"Runs of {variant} differ in", ", ".join(keys)))
    return [(term, text) for term, text in facts if text]


def _distinct(values: Iterable[Any], separator: str = ", ") -> str:
    texts = (f"{value:,}" if isinstance(value, int) else str(value) for value in values if value is not None)
    return separator.join(dict.fromkeys(texts))


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)
