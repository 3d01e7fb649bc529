"""Files of shell functions: stock programs at work, whose output and exit status must be the same in a view."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.suites.places import Place
from tests.suites.suite import Outcome, Outcomes, Suite

HERE = Path(__file__).parent
RUNNER = HERE / "run_cases.sh"


class ShellSuite(Suite):
    """`# needs: PROGRAM…` in the file names what it calls, `# seconds: N` how long one case may take."""

    def __init__(self, file: Path) -> None:
        self.name = file.stem
        self.file = file
        text = file.read_text()
        self.needs = " ".join(re.findall(r"^# needs: (.*)$", text, re.M)).split()
        self.cases = re.findall(r"^case_([a-z0-9_]+)\(\)", text, re.M)
        found = re.search(r"^# seconds: (\d+)$", text, re.M)
        self.each = int(found[1]) if found else 60
        self.seconds = 60 + self.each * 3

    def missing(self) -> str:
        lacking = [name for name in self.needs if shutil.which(name) is None]
        return f"not installed: {' '.join(lacking)}" if lacking else ""

    def run(self, place: Place, cases: list[str]) -> Outcomes:
        wanted = cases or self.cases
        status, log = place.run("bash", RUNNER, self.file, place.results, str(self.each), *wanted, timeout=self.seconds)
        outcomes = {}
        for case in wanted:
            ended, told = place.results / f"{case}.status", place.results / f"{case}.out"
            output = told.read_bytes().decode(errors="backslashreplace") if told.exists() else ""
            code = ended.read_text().strip() if ended.exists() else ""
            outcomes[case] = Outcome(f"exit {code}" if code and code != "124" else "hung", output, log if not code else "")
        if status:
            outcomes["(the whole file)"] = Outcome(f"exit {status}", "", log)
        return outcomes
