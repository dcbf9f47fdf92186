"""The measured tables of the documentation, made of what was measured: docs/measured.

    python benchmarks/tables.py            # write them into the pages
    python benchmarks/tables.py --check    # name each that is not what its data say

A table stands in a page between `<!-- table: NAME -->` and `<!-- end -->`, above a line that says
what it was measured with. Whatever is outside is written by hand. Each table is a function of its
name, in benchmark_tables.py, peer_tables.py or other_tables.py: which file, which rows, which
columns, and how a number is written.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmark_tables import (
    ceiling,
    few_steps,
    few_steps_of_others,
    guidance,
    guidance_choice,
    kept_memory,
    longer_guidance,
    objectives,
    recipe,
    recipe_float32,
    recipe_muon,
    recipe_muon_bfloat16,
    recipe_muon_rest,
    recipe_rest,
    walks,
)
from other_tables import (
    gradient_sum,
    longer,
    onnx_speed,
    pair,
    pair_muon,
    processes,
    start_from,
    strengths,
    student,
    student_settings,
)
from peer_tables import article_speed, peers, same_network, sampling_speed

DOCS = Path(__file__).parents[1] / "docs"
TABLES: dict[str, Callable[[Path], str]] = {
    "recipe": recipe,
    "recipe-float32": recipe_float32,
    "recipe-muon": recipe_muon,
    "recipe-muon-bfloat16": recipe_muon_bfloat16,
    "recipe-rest": recipe_rest,
    "recipe-muon-rest": recipe_muon_rest,
    "objectives": objectives,
    "few-steps": few_steps,
    "few-steps-of-others": few_steps_of_others,
    "guidance": guidance,
    "walks": walks,
    "longer-guidance": longer_guidance,
    "guidance-choice": guidance_choice,
    "same-network": same_network,
    "kept-memory": kept_memory,
    "ceiling": ceiling,
    "article-speed": article_speed,
    "peers": peers,
    "sampling-speed": sampling_speed,
    "student": student,
    "pair": pair,
    "pair-muon": pair_muon,
    "strengths": strengths,
    "student-settings": student_settings,
    "processes": processes,
    "gradient-sum": gradient_sum,
    "onnx-speed": onnx_speed,
    "start-from": start_from,
    "longer": longer,
}
# A place that is not closed before the next one begins is none.
PLACE = re.compile(r"<!-- table: ([a-z0-9-]+) -->\n((?:(?!<!-- table:).)*?)<!-- end -->", re.DOTALL)


def place(name: str, table: str) -> str:
    """A table between its two comments."""
    return f"<!-- table: {name} -->\n{table}<!-- end -->"


def make(measured: Path) -> tuple[dict[str, str], list[str]]:
    """Each table that the data give, and what is wrong with the others."""
    made, wrong = {}, []
    for name, table in TABLES.items():
        try:
            made[name] = f"\n{table(measured)}\n\n"
        except FileNotFoundError as error:
            wrong.append(f"Table {name}: {Path(error.filename).name} is missing in {measured}.")
        except (LookupError, ValueError, ArithmeticError) as error:
            wrong.append(f"Table {name} can't be made of its data: {error}.")
    return made, wrong


def fill(docs: Path, check: bool) -> list[str]:
    """Write the tables into the pages, or compare them only. What is wrong, in sentences."""
    made, wrong = make(docs / "measured")
    found = set()
    for page in sorted(docs.glob("*.md")):
        old = text = page.read_text(encoding="utf-8")
        for name, table in PLACE.findall(old):
            found.add(name)
            if name not in TABLES:
                wrong.append(f"{page.name}: no table is called {name}.")
            elif name in made and table != made[name]:
                text = text.replace(place(name, table), place(name, made[name]))
                if check:
                    wrong.append(f"{page.name}: table {name} is not what its data say.")
        if text != old and not check:
            page.write_text(text, encoding="utf-8")
    for name in TABLES.keys() - found:
        wrong.append(f"Table {name}: no page has <!-- table: {name} --> and <!-- end --> for it.")
    return sorted(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it differs")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the pages, with their measured/")
    arguments = parser.parse_args()
    wrong = fill(arguments.docs, arguments.check)
    print("\n".join(wrong) or f"{len(TABLES)} tables are what their data say.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
