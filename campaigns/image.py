"""The image, built without an engine and run as a task would be; writes a report.

It is built twice: from a fresh clone of what is committed, by the one command of the
README, and from this folder with the authority of a test server. buildah builds on a
base of Debian's packages; a mount namespace makes its root read-only. Needs root, git,
buildah and debootstrap: `make image`, and 10 minutes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
from psycopg.conninfo import make_conninfo
from support.s3_servers import DUMMY_ENVIRONMENT, moto_s3, seaweed_s3
from support.tls_postgres import APP, OWNER, READER, tls_postgres

from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.tls_postgres import TlsPostgres


ROOT = Path(__file__).parents[1]
# Not below ROOT: what is built from would hold what is built.
HOME = Path("/var/tmp/recon-image")  # noqa: S108 - a store of gigabytes, kept
MIRROR = "http://deb.debian.org/debian"
BUILDAH = "/usr/bin/buildah"
BASE, IMAGE, OURS = "localhost/recon-base", "localhost/recon", "localhost/recon-ours"
HEAD = """\
# The image, built and run

`make image` builds the Dockerfile with buildah on a base of Debian's packages. It runs
the image with a read-only root, as uid 10001 without capabilities, against a Postgres
with TLS and an S3 server. The last observations:"""
FRESH = "claims-recon-pipeline:devlatestl2"
BUNDLE = "deploy/test-ca.pem"
MACHINE_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
ROWS = 400_000
DATABASE = "fresh"
SETTINGS = """
[dataset.claims]
on_bad_row = "quarantine"
gates = ["mismatches(PAID)<=1", "rejected<=2"]
rules = { NOTE = "casefold" }
masks = { PAID = "hmac" }
"""
RUN = """
set -e
mount --bind "$1" "$2"
mount -o remount,bind,ro "$2"
mount -t proc proc "$2/proc"
mount -t tmpfs -o uid=10001,gid=10001,mode=700 tmpfs "$2/scratch"
root="$2"
shift 2
cd /
exec chroot "$root" /usr/bin/setpriv --reuid=10001 --regid=10001 --clear-groups \
    --no-new-privs --bounding-set=-all /bin/sh -c 'cd /scratch && exec "$@"' sh "$@"
"""


@dataclass(slots=True)
class Report:
    """What was seen, line by line."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def saw(self, what: str, how: str) -> None:
        self.lines.append((what, how))
        print(f"{what}: {how}", flush=True)

    def text(self) -> str:
        table = "\n".join(f"| {what} | {how} |" for what, how in self.lines)
        return f"{HEAD}\n\n| what | observed |\n|---|---|\n{table}\n"


def buildah(*arguments: str, cwd: Path | None = None) -> str:
    ended = subprocess.run(
        [BUILDAH, "--root", HOME / "store", "--runroot", HOME / "run", *arguments],
        env=os.environ | {"BUILDAH_ISOLATION": "chroot"},
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise SystemExit(f"buildah {arguments[0]}: {ended.stderr[-2000:]}")
    return ended.stdout.strip()


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    container = buildah("from", "--pull-never", image)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("umount", container)
        buildah("rm", container)


def make_base() -> None:
    """Debian with Python, and the authorities of this machine for its registries."""
    tree = HOME / "rootfs"
    if not (tree / "usr" / "bin" / "python3").exists():
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(
            [
                *("debootstrap", "--variant=minbase"),
                "--include=ca-certificates,python3,python3-venv",
                *("bookworm", tree, os.environ.get("DEBIAN_MIRROR", MIRROR)),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    container = buildah("from", "scratch")
    there = Path(buildah("mount", container))
    # Devices stay devices: to copy what /dev/zero says would fill the disk.
    subprocess.run(["/bin/cp", "-a", f"{tree}/.", there], check=True)
    if MACHINE_BUNDLE.is_file():
        shutil.copy(MACHINE_BUNDLE, there / "etc/ssl/certs/ca-certificates.crt")
    buildah("umount", container)
    buildah("config", "--env", f"PIP_CERT={MACHINE_BUNDLE}", container)
    buildah("commit", "--rm", container, BASE)


def build(authority: Path) -> float:
    began = time.monotonic()
    bundle = ROOT / BUNDLE
    shutil.copy(authority, bundle)
    try:
        buildah(
            *("bud", "--pull-never", "--build-arg", f"PYTHON_IMAGE={BASE}"),
            *("--build-arg", f"CA_BUNDLE={BUNDLE}"),
            *("--build-arg", f"VERSION={__version__}", "-t", IMAGE, "."),
            cwd=ROOT,
        )
    finally:
        bundle.unlink()
    return time.monotonic() - began


def build_fresh() -> float:
    """`docker build -t NAME .` in a clone, where no file was fetched by hand."""
    with TemporaryDirectory(prefix="recon-clone-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["/usr/bin/git", "clone", "--quiet", ROOT, clone], check=True)
        began = time.monotonic()
        buildah(
            *("bud", "--pull-never", "--build-arg", f"PYTHON_IMAGE={BASE}"),
            *("-t", FRESH, "."),
            cwd=clone,
        )
        return time.monotonic() - began


def build_ours() -> None:
    """What docs/deploy.md builds on the image: a configuration in it."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    [dockerfile] = re.findall(r"```dockerfile\n(.*?)```", text, re.DOTALL)
    with TemporaryDirectory(prefix="recon-ours-") as folder:
        context = Path(folder)
        (context / "recon.toml").write_text(SETTINGS)
        based = re.sub("^FROM .*", f"FROM {IMAGE}", dockerfile)
        (context / "Dockerfile").write_text(based)
        buildah("bud", "--pull-never", "-t", OURS, ".", cwd=context)


@dataclass(frozen=True, slots=True)
class Task:
    """The image as ECS runs it: its entry point, its environment, nothing to write."""

    tree: Path
    at: Path
    environment: dict[str, str]
    entry: list[str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return self.begin([*self.entry, *arguments])

    def begin(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *("unshare", "--mount", "/bin/sh", "-c", RUN, "sh"),
                *(str(self.tree), str(self.at), *command),
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def shell(self, script: str) -> str:
        out, _ = self.begin(["/bin/sh", "-c", script]).communicate(timeout=60)
        return " ".join(out.split())


def configured(image: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))
    return dict(shown["OCIv1"]["config"])


def check_contents(report: Report, task: Task, config: dict[str, Any]) -> None:
    report.saw("user, stop signal", f"`{config['User']}`, `{config['StopSignal']}`")
    report.saw("entry point", f"`{' '.join(config['Entrypoint'])}`")
    report.saw("account", f"`{task.shell('id')}`")
    shown = task.shell("grep CapBnd /proc/self/status; ls -ld /scratch")
    report.saw("capabilities, scratch", f"`{shown}`")
    refused = task.shell("touch /opt/recon/x 2>&1 || true")
    assert "Read-only file system" in refused, refused
    report.saw("a write anywhere else", f"`{refused}`")
    tools = task.shell("for t in pip pip3 gcc cc make; do command -v $t; done; true")
    assert not tools, tools
    absent = task.shell("/opt/recon/bin/python -c 'import pip' 2>&1 | tail -1")
    assert "No module named" in absent, absent
    report.saw("pip, gcc, cc, make", "absent")
    embedded = task.shell("ls /opt/recon/lib/*/site-packages | grep embedded; true")
    assert not embedded, embedded
    code, out, _ = task.run("statuses")
    assert (code, out.partition("\n")[0]) == (0, "status,exit,retry,meaning")
    for spelled in (["--help"], ["run", "--help"]):
        assert task.run(*spelled)[0] == 0
    size = task.shell("du -sm /opt/recon")
    report.saw("`/opt/recon`", f"{size.split()[0]} MiB")


def deliver(client: Any, paid: str, note: str, more: str = "") -> None:
    """A pair in which one row of NEW is different."""
    for name, row in (
        ("claims.csv", "10.00,note"),
        ("claims_NEWSYSTEM.csv", f"{paid},{note}"),
    ):
        lines = (f"{at},{row if at == 7 else '10.00,note'}" for at in range(ROWS))
        body = "ID,PAID,NOTE\n" + "\n".join(lines) + "\n" + more
        key = f"inbound/{name}.gz" if more else f"inbound/{name}"
        data = gzip.compress(body.encode()) if more else body.encode()
        client.put_object(Bucket="claims", Key=key, Body=data)


def as_role(server: TlsPostgres, role: str) -> dict[str, str]:
    return server.as_role(role, dbname=DATABASE)


def log_of(server: TlsPostgres) -> list[tuple[Any, ...]]:
    with psycopg.connect(make_conninfo(**as_role(server, READER))) as connection:
        return connection.execute(
            "SELECT status, exit_code FROM metrics.pipeline_run_log"
            " WHERE dataset = 'claims' ORDER BY run_ts"
        ).fetchall()


PLACES = (
    *("--inbound-s3", "s3://claims/inbound/"),
    *("--processed-s3", "s3://claims/processed/"),
    *("--out-s3", "s3://claims/recon/"),
    *("--dataset", "claims", "--keys", "ID", "--format", "json"),
)


def secret(endpoint: str, server: TlsPostgres, role: str) -> str:
    """The ARN of a secret as RDS has it."""
    signs_in = as_role(server, role)
    facts = {
        **{name: signs_in[name] for name in ("host", "port", "dbname", "password")},
        "username": role,
    }
    client = boto3.client("secretsmanager", endpoint_url=endpoint)
    kept = client.create_secret(Name=role, SecretString=json.dumps(facts))
    return str(kept["ARN"])


LOCAL = """
printf %s "$AUTHORITY" > /scratch/ca.pem
mkdir in
printf 'ID,PAID\\n1,10.00\\n2,5.00\\n' > in/claims.csv
printf 'ID,PAID\\n1,10.50\\n2,5.00\\n' > in/claims_NEWSYSTEM.csv
set -e
recon --version
recon diff in/claims.csv in/claims_NEWSYSTEM.csv --key ID --exit-zero --format json
recon doctor --format json || true
PGSSLROOTCERT=/scratch/ca.pem recon run --inbound-s3 in --processed-s3 done \\
    --out-s3 out --dataset local --keys ID --format json
"""


def check_fresh(report: Report, task: Task, server: TlsPostgres) -> None:
    """The image of a fresh clone: its version, two local files, a local run."""
    environment = dict(each.split("=", 1) for each in configured(FRESH)["Env"])
    environment["PATH"] += ":/usr/sbin:/usr/bin:/sbin:/bin"
    environment["AUTHORITY"] = server.authority.read_text()
    signs_in = as_role(server, APP)
    environment |= {f"PG{name.upper()}": signs_in[name] for name in ("host", "port")}
    environment |= {"PGUSER": APP, "PGPASSWORD": signs_in["password"]}
    environment |= {"PGDATABASE": DATABASE}
    with mounted(FRESH) as tree:
        fresh = replace(task, tree=tree, environment=environment)
        process = fresh.begin(["/bin/sh", "-c", LOCAL])
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    version, rest = out.split("\n", 1)
    assert version.split()[-1] == __version__
    diff, findings, run = documents(rest)
    for document in (diff, run):
        assert document["counts"]["mismatched_rows"] == 1
    report.saw(
        "image of a fresh clone", f"`{version}`; `recon diff` of two local files"
    )
    by_check = {each["check"]: each for each in findings}
    store = by_check["authorities"]["found"]
    assert "the system's store" in store
    # No public authority signs the certificate of a test server.
    assert "certificate" in by_check["database"]["found"]
    report.saw("`recon doctor` in it", store)
    assert run["run"]["status"] == "SUCCEEDED"
    report.saw("`recon run` in it, on local folders", "exit 0, `SUCCEEDED`")


def documents(text: str) -> list[Any]:
    """JSON, one document after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def check_tables(
    report: Report, task: Task, server: TlsPostgres, owner: dict[str, str]
) -> None:
    """An empty database gets its roles and tables from the image."""
    server.administer(f"CREATE DATABASE {DATABASE}")
    server.administer(task.run("roles")[1], DATABASE)
    code, out, err = replace(task, environment=task.environment | owner).run("migrate")
    assert code == 0, err
    made = [line for line in out.splitlines() if line.endswith(".sql")]
    assert len(made) == len(list((ROOT / "schemas" / "migrations").glob("*.sql")))
    report.saw(
        "`recon roles`, `recon migrate`", f"every migration is applied, as `{OWNER}`"
    )


def check_run(report: Report, task: Task, server: TlsPostgres, client: Any) -> None:
    """Doctor, stop in the middle, start again, and nothing more to do."""
    deliver(client, "10.50", "note")
    code, out, err = task.run("doctor", *PLACES[:6], "--format", "json")
    states = {each["check"]: each["state"] for each in json.loads(out)}
    assert code == 0, out + err
    report.saw("`recon doctor`", f"exit 0; {len(states)} checks, database over TLS")

    stopped = task.start("run", *PLACES)
    assert stopped.stderr is not None
    for line in stopped.stderr:
        if '"stage old"' in line:
            break
    began = time.monotonic()
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=60)
    took = time.monotonic() - began
    assert stopped.returncode == 143, stopped.returncode
    assert log_of(server) == [("INTERRUPTED", 143)]
    report.saw("SIGTERM during staging", f"exit 143 after {took:.1f} s, `INTERRUPTED`")

    code, out, err = task.run("run", *PLACES)
    assert code == 0, err
    document = json.loads(out)
    assert document["counts"]["mismatched_rows"] == 1
    [measured] = [line for line in map(json.loads, err.splitlines()) if "_aws" in line]
    assert measured["RunSucceeded"] == 1
    report.saw(
        "the same `recon run` again",
        f"exit 0, `{document['run']['status']}`: {document['counts']['matched']:,} rows"
        f" matched, 1 differs; {measured['RunSeconds']:.1f} s, peak"
        f" {measured['PeakRssBytes'] >> 20} MiB",
    )
    code, out, _ = task.run("run", *PLACES)
    assert json.loads(out)["run"]["status"] == "NO_FILES"
    report.saw("a third run", f"exit {code}, `NO_FILES`")
    assert log_of(server)[1:] == [("SUCCEEDED", 0), ("NO_FILES", 0)]
    keys = [
        entry["Key"] for entry in client.list_objects_v2(Bucket="claims")["Contents"]
    ]
    assert not any(key.startswith("inbound/") for key in keys)
    report.saw("the bucket", f"inbound is empty, {len(keys)} objects elsewhere")


def check_settings(report: Report, task: Task, client: Any) -> None:
    """Another day: a configuration in the image, breaks, pages of stored runs."""
    code, out, err = task.run("doctor", *PLACES[:8], "--format", "json")
    assert code == 0, out + err
    assert {"check": "masks", "state": "ok"}.items() <= json.loads(out)[-1].items()
    deliver(client, "10.75", "NOTE", more="cut\n")
    code, out, err = task.run("run", *PLACES)
    assert code == 0, out + err
    document = json.loads(out)
    assert [gate["passed"] for gate in document["gates"]] == [True, True]
    assert document["counts"]["mismatched_rows"] == 1
    counts = document["run"]["breaks"]["counts"]
    became = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    assert counts["changed"] == 1, counts
    keys = [
        entry["Key"]
        for entry in client.list_objects_v2(Bucket="claims", Prefix="recon/")[
            "Contents"
        ]
        if document["run"]["run_id"] in entry["Key"]
    ]
    [at] = [key for key in keys if key.endswith("/report.html")]
    page = client.get_object(Bucket="claims", Key=at)["Body"].read().decode()
    assert "10.75" not in page
    report.saw(
        "an image with `recon.toml`, gzip, masks",
        f"exit 0, gates pass; breaks: {became}; {len(keys)} artifacts, one of them"
        f" `report.html` of {len(page) >> 10} KiB",
    )
    for command in ("breaks", "history"):
        code, out, err = task.run(command, "--dataset", "claims", "--format", "json")
        assert code == 0, err
        assert json.loads(out)
    code, out, err = task.run("report", "--dataset", "claims", "-o", "/scratch/r.html")
    assert code == 0, err
    report.saw("`recon breaks`, `history`, `report`", "exit 0 each")


def main(target: Path) -> None:
    if os.geteuid() != 0:
        raise SystemExit("make image needs root")
    for program in ("git", "buildah", "debootstrap"):
        if shutil.which(program) is None:
            raise SystemExit(f"make image needs {program}: apt-get install {program}")
    report = Report()
    HOME.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(tls_postgres())
        endpoint = stack.enter_context(seaweed_s3())
        secrets = stack.enter_context(moto_s3())
        client = boto3.client("s3", endpoint_url=endpoint)
        client.create_bucket(Bucket="claims")
        make_base()
        report.saw(
            f"`docker build -t {FRESH} .`",
            f"in {build_fresh():.0f} s from a fresh clone, all hashes checked",
        )
        report.saw("with `CA_BUNDLE`", f"in {build(server.authority):.0f} s")
        build_ours()
        kept = {
            role: {"RECON_DATABASE_SECRET": secret(secrets, server, role)}
            for role in (OWNER, APP)
        }
        config = configured(IMAGE)
        environment = dict(each.split("=", 1) for each in config["Env"]) | {
            **DUMMY_ENVIRONMENT,
            "AWS_ENDPOINT_URL_S3": endpoint,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets,
            "RECON_METRICS_NAMESPACE": "ReconEngine",
            **kept[APP],
        }
        environment["PATH"] += ":/usr/sbin:/usr/bin:/sbin:/bin"
        tree = stack.enter_context(mounted(IMAGE))
        at = Path(stack.enter_context(TemporaryDirectory(prefix="recon-root-")))
        task = Task(tree, at, environment, config["Entrypoint"])
        check_contents(report, task, config)
        check_tables(report, task, server, kept[OWNER])
        check_fresh(report, task, server)
        check_run(report, task, server, client)
        given = dict(each.split("=", 1) for each in configured(OURS)["Env"])
        ours = stack.enter_context(mounted(OURS))
        more = {name: given[name] for name in ("RECON_CONFIG",)}
        more["RECON_MASK_KEY"] = "0123456789abcdef0123456789abcdef"
        settled = replace(task, tree=ours, environment=environment | more)
        check_settings(report, settled, client)
        lock = hashlib.sha256((ROOT / "deploy" / "runtime.lock").read_bytes())
        report.saw("version", f"{__version__}, lock {lock.hexdigest()[:12]}")
    target.write_text(report.text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
