# Routewatch, for the page, for workers and for the runs that they start. Built by: docker build -t routewatch .
FROM python:3.13-slim-bookworm AS build

WORKDIR /src
COPY requirements-uv.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-uv.lock && python -m venv /opt/routewatch
ENV VIRTUAL_ENV=/opt/routewatch

# The packages before the code, so that a change of the code fetches nothing. Compiled, as whom it runs as may not write.
COPY requirements.lock ./
RUN uv pip install --no-cache --compile-bytecode --require-hashes --no-deps --requirement requirements.lock

COPY pyproject.toml README.md ./
COPY routewatch ./routewatch
COPY routewatch_server ./routewatch_server
COPY models ./models
COPY tasks ./tasks
COPY reports ./reports
COPY flows ./flows
COPY dashboard ./dashboard
COPY deployments ./deployments
COPY examples ./examples
COPY docs/schemas ./docs/schemas
RUN uv pip install --no-cache --compile-bytecode --no-deps --no-build-isolation . \
    && ln -s "$(/opt/routewatch/bin/python -P -c 'import routewatch_server; print(routewatch_server.FOLDER)')" /opt/routewatch/folders


FROM python:3.13-slim-bookworm

# Pango draws the text of the PDFs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/routewatch routewatch

COPY --from=build /opt/routewatch /opt/routewatch
# Prefect's own commands and the runs of workers elsewhere find the flows as `routewatch` does.
ENV PATH=/opt/routewatch/bin:$PATH \
    PYTHONPATH=/opt/routewatch/folders \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    ROUTEWATCH_HOME=/var/lib/routewatch \
    PREFECT_HOME=/var/lib/routewatch/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false

USER 10001
WORKDIR /var/lib/routewatch
VOLUME /var/lib/routewatch
EXPOSE 4200 4280

# One of: serve, page, deploy, init; worker.
CMD ["routewatch", "--help"]
