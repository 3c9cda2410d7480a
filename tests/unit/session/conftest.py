"""What a keeper keeps up is a link: the ends of a tunnel are those of the link's own tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "link"))
