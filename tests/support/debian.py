"""Commands that tests need beside Python's own, installed from Debian where they are missing."""

import shutil
import subprocess


def command(name: str, package: str | None = None) -> str:
    """
    Where a command is; its package, by default of the same name, is installed first if need be.

    Raises:
        RuntimeError: it is missing and can not be installed; the text says why.
    """
    found = shutil.which(name)
    if found is None:
        wanted = package or name
        install = f"apt-get -q update && apt-get -q install -y -o DPkg::Lock::Timeout=120 {wanted}"
        done = subprocess.run(install, shell=True, capture_output=True, text=True, check=False)
        found = shutil.which(name)
        if found is None:
            raise RuntimeError(f"{name} is needed: `{install}` failed:\n{done.stderr[-2000:]}")
    return found
