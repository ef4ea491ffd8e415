#!/usr/bin/env python3
"""Manual pages of every command, made of what each says with --help.

    man_pages.py [--elkhorn build/elkhorn] [--out man]      then: man -l man/elkhorn-run.1
"""

import argparse
import datetime
import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def roff(text):
    """Text as roff shows it unchanged."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in lines)


def help_of(command):
    try:
        done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False,
                              env={**os.environ, "COLUMNS": "100"})
    except OSError as problem:
        sys.exit(f"man_pages.py: cannot run {command[0]}: {problem.strerror}")
    if done.returncode != 0 or not done.stdout.strip():
        sys.exit(f"man_pages.py: {' '.join(command)} --help ended with code {done.returncode}")

    return done.stdout


def page(name, text):
    """One page: the first sentence is the summary, the help itself the description."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n[ \t]*\n|\n(?=[Uu]sage)", text)]
    told = [part for part in paragraphs if part and not part.lower().startswith("usage")]  # which may take several lines
    first = re.split(r"(?<=[.?!]) ", told[0])[0].rstrip(".") if told else name
    return "\n".join((f'.TH "{name.upper()}" 1 "{datetime.date.today():%Y-%m-%d}" "Elkhorn" "Elkhorn"', ".SH NAME",
                      f"{roff(name)} \\- {roff(first)}", ".SH DESCRIPTION", ".nf", roff(text.rstrip()), ".fi",
                      ".SH SEE ALSO", "The folder docs of the project.", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elkhorn", default=os.path.join(os.path.dirname(HERE), "build", "elkhorn"))
    parser.add_argument("--out", default="man", help="folder (default: man)")
    arguments = parser.parse_args()
    commands = {"elkhorn": [arguments.elkhorn]}
    for word in re.findall(r"^  (\w+) {2,}\S", help_of([arguments.elkhorn]), re.MULTILINE):
        commands[f"elkhorn-{word}"] = [arguments.elkhorn, word]
    for script in sorted(glob.glob(os.path.join(HERE, "*.py")) + glob.glob(os.path.join(HERE, "*.sh"))):
        if os.access(script, os.X_OK):
            start = [sys.executable, "-B", script] if script.endswith(".py") else ["bash", script]
            commands[f"elkhorn-{os.path.splitext(os.path.basename(script))[0].replace('_', '-')}"] = start
    os.makedirs(arguments.out, exist_ok=True)
    for name, command in commands.items():
        with open(os.path.join(arguments.out, f"{name}.1"), "w", encoding="utf-8") as file:
            file.write(page(name, help_of(command)))
    print("\n".join(os.path.join(arguments.out, f"{name}.1") for name in commands))


if __name__ == "__main__":
    main()
