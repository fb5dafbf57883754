"""Check Terraform before make uses it: python -m tools.terraform PROGRAM. Runs on the system's Python.

Its version must do. Where the registry cannot be reached and no configuration of the user's says where providers are, a
mirror on this machine takes its place: the configuration that leads there is kept in .venv, and make passes it on. The
lock files still decide which provider may run.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from pathlib import Path

OLDEST = (1, 11)
PROVIDER = Path("registry.terraform.io", "hashicorp", "aws")
REGISTRY = "https://registry.terraform.io/.well-known/terraform.json"
CONFIGURATION = Path(".venv", "terraform.rc")

_REGISTRY_SECONDS = 4
_SEARCH_SECONDS = 20
_NOWHERE = {".terraform", ".git", ".venv", "node_modules", "proc", "sys", "dev"}


def main(program: str) -> str | None:
    """Return what is wrong, if anything."""
    if shutil.which(program) is None:
        return "Terraform is missing: install 1.11 or newer."
    answer = subprocess.run([program, "version", "-json"], capture_output=True, text=True, check=False).stdout
    version = json.loads(answer[answer.index("{") :])
    if tuple(map(int, version["terraform_version"].split("-")[0].split(".")[:2])) < OLDEST:
        return f"Terraform {version['terraform_version']} is too old: 1.11 or newer is needed."
    ensure_providers(version.get("platform", ""))
    return None


def ensure_providers(platform: str) -> None:
    """Lead to a mirror where nothing else would work."""
    if CONFIGURATION.exists():
        mirror = re.search(r'path *= *"(.+)"', CONFIGURATION.read_text())
        if mirror and Path(mirror[1]).is_dir():
            return
        CONFIGURATION.unlink()
    if os.path.isfile(os.environ.get("TF_CLI_CONFIG_FILE", "")):
        return  # the user decides
    home = Path.home() / ".terraformrc"
    own = home.read_text() if home.is_file() else ""
    if "provider_installation" in own or _has(_implied_mirrors(), platform) or _registry_answers():
        return
    mirror_folder = _find(platform)
    if mirror_folder is None:
        return  # Terraform says best what it lacks
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(f"""{own}
provider_installation {{
  filesystem_mirror {{
    path    = {json.dumps(str(mirror_folder))}
    include = ["registry.terraform.io/hashicorp/aws"]
  }}
  direct {{
    exclude = ["registry.terraform.io/hashicorp/aws"]
  }}
}}
""")
    print(f"The Terraform registry cannot be reached: providers come from the mirror {mirror_folder}.", file=sys.stderr)


def _implied_mirrors() -> list[Path]:
    """Return where Terraform itself looks for mirrors ("Implied Local Mirror Directories" of its documentation)."""
    home = Path.home()
    if sys.platform == "darwin":
        support = "Library/Application Support/io.terraform/plugins"
        return [home / ".terraform.d/plugins", home / support, Path("/", support)]
    data = [os.environ.get("XDG_DATA_HOME") or str(home / ".local/share")]
    data += (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    return [home / ".terraform.d/plugins", *(Path(folder, "terraform/plugins") for folder in data)]


def _registry_answers() -> bool:
    try:
        with urllib.request.urlopen(REGISTRY, timeout=_REGISTRY_SECONDS) as answer:
            return "providers.v1" in json.load(answer)
    except urllib.error.URLError as error:
        # Terraform may trust an authority that Python does not know.
        return isinstance(error.reason, ssl.SSLCertVerificationError)
    except (OSError, ValueError):
        return False


def _find(platform: str) -> Path | None:
    """Look for a mirror, in what lies nearest to home and root first, for a bounded time."""
    deadline = time.monotonic() + _SEARCH_SECONDS
    folders = deque((start, start.stat().st_dev) for start in (Path.home(), Path("/")) if start.is_dir())
    while folders and time.monotonic() < deadline:
        folder, device = folders.popleft()
        below = list(_folders_in(folder, device))
        if any(path.name == PROVIDER.parts[0] for path in below) and _has([folder], platform):
            return folder
        folders.extend((path, device) for path in below)
    return None


def _folders_in(folder: Path, device: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name not in _NOWHERE and entry.is_dir(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    # What another user could have put there is left alone.
                    if status.st_dev == device and status.st_uid in {0, os.geteuid()}:
                        yield Path(entry.path)
    except OSError:
        return


def _has(mirrors: list[Path], platform: str) -> bool:
    """Tell whether one of them has the locked version for this platform, unpacked or as a zip."""
    [lock, *_] = sorted(Path("terraform").glob("*/.terraform.lock.hcl"))
    locked = re.search(rf'provider "{PROVIDER.as_posix()}" {{\s*version\s*=\s*"([^"]+)"', lock.read_text())
    assert locked is not None
    names = (Path(locked[1], platform), Path(f"terraform-provider-aws_{locked[1]}_{platform}.zip"))
    return any((mirror / PROVIDER / name).exists() for mirror in mirrors for name in names)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
