"""Answers over HTTP: the routes, what they are protected by, the limits of connections, metrics, and one page.

These modules may import the runtime's modules except `cli` and `watch`; only they import starlette and uvicorn.
"""
