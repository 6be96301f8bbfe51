"""Ask pip-audit whether the versions in constraints.txt are known to be unsafe; ``make audit`` runs it.

Exit status: 0, every version was looked up and none is known to be unsafe; 1, some are, each printed; 3, some or all
could not be looked up, as without a way to the database. pip-audit itself says "no known vulnerabilities" then.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLEAN, UNSAFE, UNKNOWN = 0, 1, 3
_MINUTES = 10


def verdict(report: Any, asked: int) -> tuple[int, list[str]]:
    """The exit status and what to print.

    Args:
        report: pip-audit's, parsed from JSON; None where it gave none.
        asked: How many packages it was asked about.
    """
    found = report["dependencies"] if report else []
    looked_up = [one for one in found if "skip_reason" not in one]
    unsafe = [(one, fault) for one in looked_up for fault in one["vulns"]]
    lines = [
        f"{one['name']} {one['version']}: {', '.join([fault['id'], *fault.get('aliases', ())])};"
        f" mended in {', '.join(fault['fix_versions']) or 'no version yet'}."
        for one, fault in unsafe
    ]
    missing = asked - len(looked_up)
    if missing:
        reason = next((one["skip_reason"] for one in found if "skip_reason" in one), "it gave no answer")
        lines.append(
            f"NOT AUDITED: {missing} of {asked} packages could not be looked up in the database of vulnerabilities"
            f" ({reason}); run it where the internet can be reached."
        )
    if not lines:
        lines.append(f"{asked} packages were looked up; none is known to be unsafe.")
    return UNSAFE if unsafe else UNKNOWN if missing else CLEAN, lines


def audit(requirements: Path) -> tuple[int, list[str]]:
    """Run pip-audit, of this interpreter's environment, on exact versions."""
    asked = sum(1 for line in requirements.read_text(encoding="utf-8").splitlines() if "==" in line.split("#")[0])
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 * _MINUTES)
    except subprocess.TimeoutExpired:
        return verdict({"dependencies": [{"skip_reason": f"no answer in {_MINUTES} minutes"}]}, asked)
    try:
        return verdict(json.loads(done.stdout), asked)
    except ValueError:  # without a connection it prints a traceback
        last = (done.stderr.strip() or "it gave no answer").splitlines()[-1]
        return verdict({"dependencies": [{"skip_reason": last[:300]}]}, asked)


def main() -> int:
    """Audit a file of exact versions."""
    requirements = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "constraints.txt"
    status, lines = audit(requirements)
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
