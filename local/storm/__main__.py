"""The command of the storm: python -m local.storm."""

from local.storm import storm

if __name__ == "__main__":
    print(storm.run())
