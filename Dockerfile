# model-exporter: the service and its bundled demo.
#
# All stages use one base, because a virtual environment points at the Python it was made with.
# Its digest changes with every Debian or Python fix; for a release, pass the tag with its digest:
#   docker build --build-arg BASE=python:3.13-slim-bookworm@sha256:... .
ARG BASE=python:3.13-slim-bookworm

# The same Prometheus as in docker-compose.yml; only the stage `history` needs it.
FROM prom/prometheus:v3.13.4@sha256:87861b8cf91579109319ebc300f3f1060e6da9c05d6ae8ad15a20c879e84e32e AS prometheus

FROM ${BASE} AS dependencies
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# pip and the build backend live in their own environment, so neither is in the image.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/model-exporter
COPY pyproject.toml constraints.txt ./
# The dependencies alone: this layer, by far the largest, stays the same while only the code changes.
# The libraries' own test suites, a fifth of their size, are never imported.
RUN /opt/build/bin/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['postgresql'], sep='\n')" > requirements.txt \
 && /opt/build/bin/pip --python /opt/model-exporter/bin/python install -c constraints.txt -r requirements.txt \
 && find /opt/model-exporter/lib -type d -name tests -prune -exec rm -r {} +

FROM dependencies AS build
RUN /opt/build/bin/pip install -c constraints.txt hatchling
COPY . .
# Without build isolation, or pip would fetch a second, unpinned hatchling.
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/model-exporter/bin/python install --no-deps --no-index --prefix /app /wheels/*.whl \
 && mkdir /state

# No RUN below this line: the image needs no shell, neither to be built nor to run.
FROM ${BASE} AS exporter
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="model-exporter" \
      org.opencontainers.image.description="What node_exporter is to machines, model-exporter is to machine-learning models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=dependencies /opt/model-exporter /opt/model-exporter
COPY --from=build /app /opt/model-exporter
COPY --from=build --chown=65534:65534 /state /var/lib/model-exporter

# No bytecode is written: the root file system may be read-only, and pip has compiled it already.
ENV MODEL_EXPORTER_REVISION=${REVISION} \
    PATH=/opt/model-exporter/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65534:65534
# The only directory that is written to, beside /tmp.
VOLUME ["/var/lib/model-exporter"]
WORKDIR /var/lib/model-exporter
EXPOSE 9877
STOPSIGNAL SIGTERM

# http.client ignores proxy variables, and a slim image has no curl.
# With TLS or another port, give the container a check of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python3", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 9877, timeout=4); c.request('GET', '/-/healthy'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["model-exporter"]
CMD ["serve", "--config.file=/etc/model-exporter/model-exporter.yml", "--web.listen-address=0.0.0.0:9877"]

# The exporter with the two programs that put its past into a Prometheus (model-exporter backfill --blocks).
FROM exporter AS history
COPY --from=prometheus /bin/prometheus /bin/promtool /usr/local/bin/

FROM exporter
