# The packages, and the project as it is without photographs: base weights serve at once. docs/container.md has the rest.
FROM debian:trixie-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git make python3 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS packages
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
WORKDIR /project
COPY Makefile pyproject.toml README.md requirements*.lock ./
COPY stages/__init__.py stages/
ARG TORCH= EXTRAS=cluster
RUN --mount=type=cache,target=/var/cache/packages \
    XDG_CACHE_HOME=/var/cache/packages UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy make VENV=/opt/venv $EXTRAS \
    && /opt/venv/bin/uv pip uninstall --quiet --python /opt/venv pip uv \
    && cp requirements.lock /opt/venv

FROM base
# The clone that is mounted may be anybody's, and so may the user be: one without a name or a home.
RUN git config --system --add safe.directory /project && git config --system --add safe.directory '/project/*'
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp LOGNAME=inpaint DVC_SITE_CACHE_DIR=/project/.dvc/tmp/site \
    MAKEFLAGS="-- VENV=/opt/venv NEWER="
COPY --from=packages /opt/venv /opt/venv
WORKDIR /project
COPY . .
RUN python -m compileall -q stages && python -c 'from stages.serving.models import BASE, exported; exported(str(BASE))'
USER 1000:1000
EXPOSE 8000
ENTRYPOINT ["sh", "-c", "cmp -s requirements.lock /opt/venv/requirements.lock || { echo 'requirements.lock of this project is not the one that the image was built from; build the image again' >&2; exit 2; }; exec \"$@\"", "--"]
CMD ["inpaint", "serve", "--host", "0.0.0.0"]
