"""Parameters of the commands that compare two inputs, as typer takes them.

They are apart from the commands, which start without typer where that is possible.
"""

from __future__ import annotations

from typing import Annotated

import typer

from recon_engine.options import Group


Old = Annotated[
    str,
    typer.Argument(
        metavar="OLD",
        help="The old input: a file, a folder or a pattern of parts, standard input"
        " (-), or an s3:// URL.",
    ),
]
New = Annotated[
    str,
    typer.Argument(
        metavar="NEW",
        help="The new input: a file, a folder or a pattern of parts, standard input"
        " (-), or an s3:// URL.",
    ),
]
KeyValues = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VALUE...",
        help="The value of each key column, in the order of the key; or all values as"
        " one JSON array.",
    ),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        metavar="COL[,COL]|all",
        help="Also show these columns, although they are not compared: those that are"
        " ignored, of the key, or in one file only. 'all' is every column. Repeatable.",
        show_default="the compared columns",
        rich_help_panel=Group.OUTPUT,
    ),
]
MaxColumns = Annotated[
    int,
    typer.Option(
        "--max-columns",
        metavar="N",
        min=1,
        max=4,
        help="Largest number of columns in a proposed key.",
        rich_help_panel=Group.COMPARISON,
    ),
]
