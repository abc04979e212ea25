# syntax=docker/dockerfile:1
# One image for the task and for `recon …` by hand. docs/deploy.md says how to build it.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/recon
# Dependencies first: they change less often than the code.
COPY deploy/build.lock deploy/runtime.lock deploy/
RUN /build/bin/pip install --no-cache-dir --disable-pip-version-check \
      --require-hashes -r deploy/build.lock \
 && /build/bin/pip --python /opt/recon/bin/python install \
      --no-cache-dir --disable-pip-version-check --only-binary :all: \
      --require-hashes -r deploy/runtime.lock
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY recon_engine recon_engine
COPY cli cli
COPY schemas schemas
# The compiler of the native kernel is in build.lock.
RUN RECON_NATIVE=required /build/bin/python -m hatchling build -t wheel -d /dist \
 && /build/bin/pip --python /opt/recon/bin/python install \
      --no-cache-dir --disable-pip-version-check --no-deps /dist/*.whl
# The authorities that the database's certificate is checked against: a bundle of deploy/
# that CA_BUNDLE names, those of RDS if deploy/rds-ca.pem is there, else the system's.
ARG CA_BUNDLE
COPY deploy deploy
RUN mkdir /etc/recon \
 && bundle="${CA_BUNDLE:-deploy/rds-ca.pem}" \
 && if [ -f "$bundle" ]; then cp "$bundle" /etc/recon/ca.pem; \
    elif [ -n "$CA_BUNDLE" ]; then \
      echo "CA_BUNDLE=$CA_BUNDLE is not there: it has to be a .pem file in deploy/" >&2; exit 1; \
    else ln -s /etc/ssl/certs/ca-certificates.crt /etc/recon/ca.pem; fi \
 && if [ ! -s /etc/recon/ca.pem ]; then \
      echo "the base image has no ca-certificates: give CA_BUNDLE" >&2; exit 1; fi

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="recon-engine" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN find / -xdev \( -path '*/site-packages/pip' -o -path '*/site-packages/pip-*' \
      -o -path '*/ensurepip' -o -path '*/bin/pip' -o -path '*/bin/pip3*' \) \
      -prune -exec rm -rf {} + \
 && mkdir -p /scratch && chown 10001:10001 /scratch
COPY --from=build /opt/recon /opt/recon
COPY --from=build /etc/recon /etc/recon
ENV PATH=/opt/recon/bin:$PATH \
    HOME=/scratch \
    TMPDIR=/scratch \
    PGSSLROOTCERT=/etc/recon/ca.pem \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /scratch
# The only place that is written to; everything else may be mounted read-only.
VOLUME /scratch
STOPSIGNAL SIGTERM
# A batch task is watched by its exit code.
HEALTHCHECK NONE
# Arguments are those of `recon`: `docker run IMAGE run --dataset claims …`.
ENTRYPOINT ["/opt/recon/bin/python", "-m", "recon_cli"]
CMD ["--help"]
