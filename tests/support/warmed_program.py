"""What each process of the program would do anew, done once before any is forked.

The server of `forked_program` imports this module. It starts no thread, which a fork
would not have.
"""

from __future__ import annotations

import functools

import botocore.loaders
import botocore.session
import typer.main
from recon_cli.app import app

from recon_engine.report import html


# As in `conftest.py`. Parsing the model of S3 and the commands, and translating the
# templates of pages, takes as long as two short runs.
botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)
typer.main.get_command = functools.cache(typer.main.get_command)

typer.main.get_command(app)
botocore.session.get_session().create_client(
    "s3",
    region_name="us-east-1",
    # Otherwise it looks for them, also on the network.
    aws_access_key_id="nobody",
    aws_secret_access_key="nobody",
).close()
for name in ("report.html", "history.html", "fragment.html"):
    html._template_environment().get_template(name)
