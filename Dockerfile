# The same thing as `make serve`, as an image. A container must be told by which address clients reach it:
#   docker build -t drumlog .
#   docker run -p 9092:9092 -e DRUMLOG_ADVERTISE=localhost:9092 -v drumlog-data:/var/lib/drumlog drumlog

FROM python:3.13-slim AS build

WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/drumlog \
 && /opt/drumlog/bin/pip install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements.lock \
 && pip install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements-build.lock

COPY pyproject.toml README.md LICENSE ./
COPY protocol protocol
COPY wal wal
COPY gateway gateway
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/drumlog/bin/pip install --no-cache-dir --no-deps /dist/*.whl \
 && /opt/drumlog/bin/pip uninstall --yes pip


FROM python:3.13-slim

RUN useradd --system --uid 9092 --user-group --home-dir /var/lib/drumlog --create-home drumlog
COPY --from=build /opt/drumlog /opt/drumlog

# Frames and blocks are large and short-lived. Without these the C library maps each anew and the kernel clears its
# pages every time, which costs more than all the rest of receiving it.
ENV MALLOC_MMAP_THRESHOLD_=1073741824 \
    MALLOC_TRIM_THRESHOLD_=1073741824 \
    MALLOC_TOP_PAD_=67108864 \
    PATH=/opt/drumlog/bin:$PATH \
    DRUMLOG_LISTEN=0.0.0.0:9092 \
    DRUMLOG_STORE=file:///var/lib/drumlog/objects \
    DRUMLOG_META=sqlite:///var/lib/drumlog/meta.db

USER drumlog
VOLUME /var/lib/drumlog
EXPOSE 9092
STOPSIGNAL SIGTERM
ENTRYPOINT ["drumlog"]
CMD ["serve"]
