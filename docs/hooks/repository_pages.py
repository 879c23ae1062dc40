"""Pages from elsewhere in the repository, and links between all pages.

The experiments' READMEs, the changelog and the contributing guide are pages of the site. In Markdown, links are relative to the file,
so that the repository can be browsed; here they become links between pages. A link to a file that is no page becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[((?:`[^`\n]*`|[^\]`])+)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def sources(root: Path) -> dict[str, str]:
    """The pages made from files outside `docs`, by the path of the file."""
    experiments = (file.parent.name for file in root.glob("experiments/*/README.md"))
    pages = {f"experiments/{name}/README.md": f"experiments/{name}.md" for name in experiments}
    return pages | {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def linked(markdown: str, file: str, root: Path, pages: dict[str, str], page: str) -> str:
    """Rewrite the links of `markdown`, which is `file` in the repository and `page` on the site, as links between pages."""

    def rewritten(match: re.Match[str]) -> str:
        text, link, anchor = match[1], match[2], match[3] or ""
        if not link or ":" in link:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), link))
        if not (root / target).exists():
            # Pages made at build time are linked by their path on the site.
            return match[0]
        readme = f"{target}/README.md" if (root / target).is_dir() else target
        destination = pages.get(readme) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if destination is None:
            return text
        return f"[{text}]({posixpath.relpath(destination, posixpath.dirname(page) or '.')}{anchor})"

    return LINK.sub(rewritten, markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for source, page in sources(root).items():
        files.append(File.generated(config, page, content=(root / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (what MkDocs calls)
    root = Path(config.config_file_path).parent
    pages = sources(root)
    origin = {page: source for source, page in pages.items()}
    uri = page.file.src_uri
    return linked(markdown, origin.get(uri, f"docs/{uri}"), root, pages, uri)
