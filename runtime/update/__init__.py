"""Models from a repository that is signed by The Update Framework: what is offered, who gets it, and a verified fetch.

`updating` calls the other modules. They may import the runtime's modules except `cli`, tuf and securesystemslib; only
`client` and `releases` import these two, so that the others work without the extra.
"""
