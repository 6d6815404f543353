"""Pictures that come back from devices: collected, shown on a page to a person who labels them, put into a data set.

Imports the runtime, `trainer.data`, `trainer.errors` and `trainer.files`; `app` and `page` also starlette.
"""
