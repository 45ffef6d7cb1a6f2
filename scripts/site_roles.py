"""For the site: references of docstrings in Sphinx's way become names in code, as mkdocstrings reads Markdown."""

from __future__ import annotations

import re

import griffe

_ROLE = re.compile(r':(?:class|func|meth|mod|attr|data|exc|obj):`~?\.?([^`]+)`')
_CODE = re.compile(r'``([^`]+)``')


class Roles(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """``:class:`X``` becomes ```X```."""
        if obj.docstring is not None:
            obj.docstring.value = _CODE.sub(r'`\1`', _ROLE.sub(r'`\1`', obj.docstring.value))
