"""The component's export `script`, and nothing else: all work is in `toolcell_runtime`.

componentize-py imports this module once, at build time, and takes its snapshot afterwards. What is
done on import is therefore paid once per build; what is done in `run` and `run_kept` is paid once per run.
"""

from toolcell_runtime import preload

preload.prepare()

from toolcell_runtime import program as _program  # noqa: E402 - only after the stdlib is in place
from toolcell_runtime import warmup  # noqa: E402
from wit_world import exports  # noqa: E402
from wit_world.exports.script import Program  # noqa: E402


class Script(exports.Script):
    """`toolcell:guest/script`, as componentize-py wants it: a class of this name with these methods."""

    def run(self, program: Program) -> str | None:
        return _program.run(program)

    def run_kept(self, program: Program) -> str | None:
        return _program.run_kept(program)


warmup.warm_up(Script().run, Script().run_kept)
preload.seal(warmup.forget)
