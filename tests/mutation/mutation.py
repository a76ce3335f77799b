"""A rule of the sources: what it takes to break it, and the tests that must notice.

`before` occurs once in `file`. Tests are those of `suite` that the Catch2 filter `tests` selects; a
`sanitize` kind is for rules of ordering that this machine's processor keeps by itself.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    rule: str
    file: str
    before: str
    after: str
    tests: str
    suite: str = "unit"
    sanitize: str = ""
