"""Watching a folder: find the images that arrive, record each answer, move the image, run a command.

`watcher` is the loop that calls the other modules. They may import the runtime's modules except `cli`, and no click.
"""
