"""Hooks of mkdocs: pages from files in the repository's root, and L* without a backslash."""

import re
from pathlib import Path

from markdown import Extension, Markdown
from markdown.inlinepatterns import SimpleTextInlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


class CielabAxes(Extension):
    """Keep the asterisk of L*, a* and b*: docstrings write them without a backslash."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Run after code spans (190) and escapes (180), before emphasis (60)."""
        md.inlinePatterns.register(SimpleTextInlineProcessor(r"\b([Lab]\*)"), "cielab", 175)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the extension, which mkdocs.yml cannot name."""
    config.markdown_extensions.append(CielabAxes())  # type: ignore[arg-type]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, with links relative to docs/; a link to anything but a page becomes text."""
    root = Path(config.config_file_path).parent
    for source, page in PAGES.items():
        text = (root / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, target in PAGES.items():
            text = text.replace(f"]({other})", f"]({target})")
        text = re.sub(r"(?<!!)\[([^]]+)\]\((SECURITY\.md|(?!http|#)[^)]+(?<!\.md))\)", r"\1", text)
        files.append(File.generated(config, page, content=text))
    return files
