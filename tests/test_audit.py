"""What the audit of a release says of pip-audit's report."""

import importlib.util
import json
from pathlib import Path

SPEC = importlib.util.spec_from_file_location("audit", Path(__file__).parent.parent / ".ci" / "audit.py")
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

GOOD = {"name": "a", "version": "1.0", "vulns": []}
BAD = {"name": "b", "version": "2.0", "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def verdict(*packages, code=0):
    return audit.verdict(json.dumps({"dependencies": packages}), code)


def test_vulnerabilities_are_named_and_end_it():
    said, code = verdict(GOOD, BAD, UNKNOWN, code=1)
    assert said == "vulnerabilities: 1 of 2 packages have some, 1 are unknown\n  b 2.0: CVE-1, CVE-2"
    assert code == 1


def test_a_good_report():
    assert verdict(GOOD, GOOD) == ("vulnerabilities: 0 of 2 packages have some, 0 are unknown", 0)


def test_a_service_that_cannot_be_reached_is_said():
    said, code = audit.verdict("Traceback", 1)
    assert (code, "cannot be reached" in said, said.count("\n")) == (0, True, 0)
    said, code = verdict(UNKNOWN, UNKNOWN)  # with which pip-audit ends well
    assert (code, "knows none of 2 packages" in said) == (0, True)
