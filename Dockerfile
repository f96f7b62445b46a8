# photochrom web: docker build -t photochrom . && docker run --rm -p 8000:8000 photochrom
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /dist

FROM python:3.13-slim
COPY --from=build /dist /dist
COPY constraints.txt /dist/
RUN WHEEL=$(ls /dist/*.whl) \
    && pip install --no-cache-dir -c /dist/constraints.txt "${WHEEL}[web]" \
    && rm -r /dist \
    && useradd --create-home photochrom
USER photochrom
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["photochrom", "web", "--host", "0.0.0.0", "--port", "8000"]
