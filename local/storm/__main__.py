"""The command of the storm: python -m local.storm."""

from pathlib import Path

from local.storm import storm

PICTURE = Path(__file__).resolve().parents[2] / "build" / "output" / "storm.svg"

if __name__ == "__main__":
    print(storm.run(PICTURE))
    print(f"\n  drawn in {PICTURE.relative_to(PICTURE.parents[2])}")
