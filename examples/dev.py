"""`make dev`: this tree's Landbridge beside the local Microsoft, started anew whenever a source file changes."""

import signal
import time
from pathlib import Path

from examples import stack
from examples.demo import console

DATA = Path("build") / "dev"
SOURCES = Path("src") / "landbridge"


def main() -> None:
    """Serve until Ctrl-C. The data folder stays from one start to the next."""
    with stack.sandbox() as microsoft:
        settings = {"LANDBRIDGE_DATA_DIR": str(DATA), "LANDBRIDGE_PORT": "8080", **microsoft.settings}
        console.print("The commands of `landbridge` need the same settings:\n")
        for name, value in settings.items():
            console.print(f"  export {name}={value}")
        console.print(f"\nclient id:     {microsoft.client_id}", soft_wrap=True)
        console.print(f"client secret: {microsoft.client_secret}\n", soft_wrap=True)
        while True:
            seen = _newest()
            with stack.landbridge(settings) as url:
                console.print(f"Landbridge is at {url}; its log is build/landbridge.log")
                while _newest() == seen:
                    time.sleep(0.5)
            console.print("A file changed.")


def _newest() -> float:
    return max(
        path.stat().st_mtime for path in SOURCES.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else what we have started would outlive us
    try:
        main()
    except KeyboardInterrupt:
        console.print("\nEnding.")
