"""Compiles an editable install, as pip compiles every other one.

A checkout that is installed with ``pip install -e`` has no bytecode, and where PYTHONDONTWRITEBYTECODE is set (as most
container images do) it never gets any: each command would compile all that it imports anew.
"""

import compileall

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel


class CompiledEditable(editable_wheel):
    """Leaves the bytecode of the package beside its sources. A source that is edited later is compiled by its next import."""

    def run(self) -> None:
        """Build the wheel of links as before, then compile what it points at."""
        super().run()
        compileall.compile_dir("src/lockgate", quiet=1)


setup(cmdclass={"editable_wheel": CompiledEditable})
