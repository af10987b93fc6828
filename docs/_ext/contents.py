"""The table of contents: every page there is, by what it is for."""

from pathlib import Path

DOCS = Path(__file__).parents[1]
CONTENTS = {
    "Tutorial": ("tutorial*.md", "notebooks/*.md"),
    "How to": ("howto/*.md", "networks.md", "resuming.md", "experiments.md"),
    "Explanation": ("explanation/*.md",),
    "Reference": ("reference/*.md",),
    "Pictures": ("gallery.md",),
}


def contents() -> str:
    """A toctree for each part of which there are pages, as Markdown."""
    parts = []
    for part, patterns in CONTENTS.items():
        if pages := [page for pattern in patterns for page in sorted(DOCS.glob(pattern))]:
            names = "\n".join(page.relative_to(DOCS).with_suffix("").as_posix() for page in pages)
            parts.append(f"```{{toctree}}\n:caption: {part}\n:maxdepth: 1\n\n{names}\n```")
    return "\n\n".join(parts)
