# One image for every process: the command chooses. docs/operations.md says which there are.

FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY . .
ARG PARTS="-w cli -w gateway -w packages/chassis -w packages/client -w packages/identity -w packages/react -w packages/verify -w prisma -w services/appointments -w services/auth -w services/notifications -w web"
# The bundle holds what the programs import, and leaves the rest here: compilers, types, and what nobody loads.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --include-workspace-root $PARTS \
 && npm run generate \
 && npx tsc --build cli gateway services/appointments services/auth services/notifications web/server web/src \
 && npx vite build web --logLevel warn \
 && npm run bundle -- /app

FROM node:24-bookworm-slim
ARG VERSION=0.1.0 REVISION=unknown CREATED=unknown
LABEL org.opencontainers.image.title="Sallyport" \
      org.opencontainers.image.description="A token system for microservices: auth service, gateway, samples" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.base.name="docker.io/library/node:24-bookworm-slim"
WORKDIR /app
COPY --from=build /app ./
# So that it is `docker compose exec auth sallyport doctor`.
ENV PATH=$PATH:/app/node_modules/.bin
ENV NODE_ENV=production HOST=0.0.0.0 MANAGEMENT_PORT=9000 GATEWAY_ROUTES=gateway/routes.yaml REVISION=$REVISION
# By number, so that Kubernetes can tell that it is not root. It owns no file here.
USER 1000:1000
EXPOSE 5000 5001 5002 5003 5173 9000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MANAGEMENT_PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# In place of the base image's own, which is a shell script.
ENTRYPOINT []
CMD ["node", "--single-threaded-gc", "gateway/dist/server.js"]
