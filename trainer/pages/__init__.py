"""HTML pages of one file each: the shared layout, style and parts, and those of the commands.

It may import `runtime`, values of `data` and `evaluation`, `plots`, and Jinja2. The exporter shares this room.
"""
