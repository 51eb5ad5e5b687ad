"""`python -m docs.generate`: write the generated parts of the reference anew.

This file decides that pages are written only if something in them changed.
"""

from __future__ import annotations

from docs.generate.sections import pages, with_sections


def main() -> None:
    for page in pages():
        text = page.read_text()
        made = with_sections(text)
        if made != text:
            page.write_text(made)
            print(f"wrote {page.name}")  # noqa: T201  a command


main()
