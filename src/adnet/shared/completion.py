"""Shell completion of `python -m adnet.NAME`; Hydra's own completes console scripts only."""

from __future__ import annotations

import os
import re
import sys

# It calls `adnet.shared.command`, because the module of a command would import PyTorch at each key press.
BASH = """\
_adnet() {
    [[ ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} == adnet* ]] || return
    local name=${COMP_LINE#*-m adnet.} python=${COMP_WORDS[0]} code='import sys
from adnet.shared.command import command
command(sys.argv.pop(1))(print)()'
    local word=${COMP_LINE##* }
    COMPREPLY=($(compgen -W "$($python -c "$code" "${name%% *}" --shell-completion query=bash 2> /dev/null)" -- "$word"))
}
export COMP_LINE COMP_POINT
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _adnet python python3 .venv/bin/python
"""


def complete_module() -> bool:
    """Prepare the command line for Hydra's completion. Return True if the bash script was asked for; it is then printed."""
    if "install=bash" in sys.argv:
        print(BASH, end="")
        return True
    if "query=bash" in sys.argv and "COMP_LINE" in os.environ:
        line = os.environ["COMP_LINE"]
        shorter = re.sub(r"^\s*\S+\s+-m\s+\S+", "adnet", line)
        point = int(os.environ.get("COMP_POINT", len(line))) - len(line) + len(shorter)
        os.environ.update(COMP_LINE=shorter, COMP_POINT=str(point))
    return False
