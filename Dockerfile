# Routewatch, for the page, for workers and for the runs that they start. Built by: docker build -t routewatch .
FROM python:3.13-slim-bookworm AS build

ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir uv==${UV_VERSION} && python -m venv /opt/routewatch
ENV VIRTUAL_ENV=/opt/routewatch

WORKDIR /src
COPY requirements.lock pyproject.toml README.md routewatch.py ./
COPY models ./models
COPY tasks ./tasks
COPY reports ./reports
COPY flows ./flows
COPY dashboard ./dashboard
COPY deployments ./deployments
COPY examples ./examples
# The lock's versions, without what only its tests need; compiled, as whoever runs it cannot write here.
RUN uv pip install --no-cache --compile-bytecode --constraint requirements.lock .


FROM python:3.13-slim-bookworm

# Pango draws the text of the PDFs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/routewatch routewatch

COPY --from=build /opt/routewatch /opt/routewatch
ENV PATH=/opt/routewatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROUTEWATCH_HOME=/var/lib/routewatch \
    PREFECT_HOME=/var/lib/routewatch/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false

USER 10001
WORKDIR /var/lib/routewatch
VOLUME /var/lib/routewatch
EXPOSE 4200 4280

# One of: serve, page, deploy, init; a worker is `prefect worker start --pool routewatch`.
CMD ["routewatch", "--help"]
