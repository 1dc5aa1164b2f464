"""Write tests/cases/<id>/{setup,bad,good}.sql from the hazards' records: python tests/policy/write_cases.py"""

from pathlib import Path

from lockgate.policy.rules import HAZARDS

CASES = Path(__file__).parent.parent / "cases"


def main() -> None:
    for hazard in HAZARDS.values():
        folder = CASES / hazard.id
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("setup", "bad", "good"):
            text = getattr(hazard, name)
            if text:
                (folder / f"{name}.sql").write_text(text + "\n")


if __name__ == "__main__":
    main()
