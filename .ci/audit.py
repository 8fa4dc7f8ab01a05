"""Look up known vulnerabilities of the installed packages, and write a software bill of materials.

    python .ci/audit.py PYTHON FOLDER

PYTHON is the interpreter of the environment; the bill (CycloneDX, JSON) goes into FOLDER. Both tools are
installed into an environment of their own. Where no service of vulnerabilities can be reached, this says so
and goes on; known vulnerabilities end it with exit code 1.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("pip-audit==2.10.1", "cyclonedx-bom==7.5.0")
SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def verdict(output: str, code: int) -> tuple[str, int]:
    """What to say of pip-audit's report, and the exit code.

    pip-audit ends well, too, where the service knew none of the packages: what it skipped is counted.
    """
    try:
        found = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        return (
            f"vulnerabilities: not looked up, the service cannot be reached (pip-audit ended with {code})",
            0,
        )
    known = [package for package in found if "skip_reason" not in package]
    bad = [
        f"{package['name']} {package['version']}: {', '.join(one['id'] for one in package['vulns'])}"
        for package in known
        if package["vulns"]
    ]
    if not known:
        return f"vulnerabilities: not looked up, the service knows none of {len(found)} packages", 0
    unknown = len(found) - len(known)
    told = f"vulnerabilities: {len(bad)} of {len(known)} packages have some, {unknown} are unknown"
    return "\n  ".join([told, *bad]), int(bool(bad))


def main(python: str, folder: Path) -> int:
    """Run both tools; the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    bill = folder / "statim.cdx.json"
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        bins = Path(place, "Scripts" if os.name == "nt" else "bin")
        pip = [bins / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *TOOLS]
        subprocess.run(pip, check=True)
        making = [bins / "cyclonedx-py", "environment", "--pyproject", ROOT / "pyproject.toml"]
        making += ["--output-reproducible", "--of", "JSON", "-o", bill, python]
        subprocess.run(making, check=True)
        packages = len(json.loads(bill.read_text(encoding="utf-8"))["components"])
        print(f"bill of materials: {packages} packages in {bill}")
        site = subprocess.run([python, "-c", SITE], capture_output=True, text=True, check=True).stdout.strip()
        asking = [bins / "pip-audit", "--path", site, "--skip-editable", "-f", "json"]
        asking += ["--progress-spinner", "off", "--timeout", "10"]
        done = subprocess.run(asking, capture_output=True, text=True)
    said, code = verdict(done.stdout, done.returncode)
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
