"""HTML pages of one file each: the shared layout, style and parts, and the pages of `data show`, `evaluate`, `compare`.

It may import `runtime`, values of `data` and `evaluation`, `plots`, and Jinja2. The exporter shares this room.
"""
