"""Pages that need no other file: their common style, and the policy by which a browser runs nothing else."""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

#: Colours for light and dark screens, text, buttons, sections.
BASE_STYLE = """
:root { color-scheme: light dark; --back: #fbfbfa; --card: #fff; --ink: #1f2430; --soft: #5d6473; --line: #d9dce3;
  --mark: #2f5fb3; --bar: #c9d8f2; --bad: #a3352b; }
@media (prefers-color-scheme: dark) { :root { --back: #14171d; --card: #1c2028; --ink: #e8eaf0; --soft: #a2a9b8;
  --line: #343a46; --mark: #8fb4f5; --bar: #2f4468; --bad: #f09a90; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1rem; display: grid; gap: 1rem; }
header { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: baseline; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
p { margin: 0; } a { color: var(--mark); } .soft { color: var(--soft); } .bad { color: var(--bad); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; min-width: 0; }
[hidden] { display: none !important; }
.two { display: grid; gap: 1rem; } @media (min-width: 44rem) { .two { grid-template-columns: 1fr 1fr; } }
.two > * { min-width: 0; }
button, input { font: inherit; color: inherit; }
button { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .4rem .8rem;
  cursor: pointer; }
button:hover, button:focus-visible { border-color: var(--mark); }
input[type=password] { width: 100%; padding: .4rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--back); }
form, .row { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; margin-top: .75rem; }
"""


class OnePage(NamedTuple):
    """A page of one file.

    Attributes:
        html: the page.
        policy: its `Content-Security-Policy`.
    """

    html: str
    policy: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that are sent with it."""
        return {"Content-Security-Policy": self.policy}


def one_page(title: str, style: str, body: str, script: str) -> OnePage:
    """A page of one file. It may show pictures that its script makes, and ask its own server.

    Args:
        title: its title.
        style: rules beside `BASE_STYLE`.
        body: its HTML.
        script: its JavaScript.
    """
    style = BASE_STYLE + style
    html = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n'
        f"<body>{body}<script>{script}</script></body></html>\n"
    )
    # Nothing but this style and this script, pictures made by the script, and requests to the own server.
    policy = (
        f"default-src 'none'; script-src {_hashed(script)}; style-src {_hashed(style)}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return OnePage(html, policy)


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
