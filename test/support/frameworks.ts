import 'reflect-metadata'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Controller, Get, type INestApplication, Module, UseGuards } from '@nestjs/common'
import { type AbstractHttpAdapter, NestFactory } from '@nestjs/core'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { type Guards, Refusal } from '@sallyport/identity'
import * as ofExpress from '@sallyport/identity/express'
import * as ofFastify from '@sallyport/identity/fastify'
import * as ofHono from '@sallyport/identity/hono'
import * as ofNest from '@sallyport/identity/nest'
import * as ofNode from '@sallyport/identity/node'
import connect from 'connect'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import type { Test } from 'tap'

/** Makes what is served, by path, of a framework's guards. */
type ToRoutes = <Guard>(guards: Guards<Guard>) => [path: string, guards: Guard[]][]

export const express4: typeof express = createRequire(import.meta.url)('express-4')

/** Each serves who is calling behind the guards, on a port of its own, until the test ends. */
export const frameworks = {
  'Fastify 5': async (t: Test, toRoutes: ToRoutes) => {
    const app = Fastify()
    t.teardown(() => app.close())
    // As README has it.
    app.setErrorHandler((error, _request, reply) => {
      if (!(error instanceof Refusal)) return reply.send(error)
      return reply.code(error.statusCode).headers(error.headers).type('application/problem+json').send(error.problem)
    })
    for (const [path, preHandler] of toRoutes(ofFastify))
      app.get(path, { preHandler }, async (request) => request.identity)
    return app.listen()
  },

  'Express 5': (t: Test, toRoutes: ToRoutes) => serveExpress(t, express, toRoutes),

  'Express 4': (t: Test, toRoutes: ToRoutes) => serveExpress(t, express4, toRoutes),

  Connect: (t: Test, toRoutes: ToRoutes) => {
    const app = connect()
    for (const [path, guards] of toRoutes(ofExpress)) {
      for (const guard of guards) app.use(path, guard)
      app.use(path, (request: IncomingMessage & { identity?: unknown }, response) =>
        respond(response, request.identity),
      )
    }
    return listen(t, app)
  },

  Hono: async (t: Test, toRoutes: ToRoutes) => {
    const app = new Hono<{ Variables: ofHono.IdentityVariables }>()
    for (const [path, guards] of toRoutes(ofHono)) {
      for (const guard of guards) app.use(path, guard)
      app.get(path, (c) => c.json(c.get('identity')))
    }
    const server = serve({ fetch: app.fetch, port: 0 })
    t.teardown(() => server.close())
    await once(server, 'listening')
    return originOf(server.address() as AddressInfo)
  },

  'Nest on Express': (t: Test, toRoutes: ToRoutes) => serveNest(t, new ExpressAdapter(), toRoutes),

  'Nest on Fastify': (t: Test, toRoutes: ToRoutes) => serveNest(t, new FastifyAdapter(), toRoutes),

  'node:http': (t: Test, toRoutes: ToRoutes) => {
    const routes = new Map(toRoutes(ofNode))
    return listen(t, (request, response) => {
      let identity: unknown
      for (const guard of routes.get(request.url as string) ?? []) {
        identity = guard(request, response)
        if (!identity) return
      }
      respond(response, identity)
    })
  },
}

function serveExpress(t: Test, version: typeof express, toRoutes: ToRoutes) {
  const app = version()
  for (const [path, guards] of toRoutes(ofExpress))
    app.get(path, ...guards, (request, response) => response.json(request.identity))
  return listen(t, app)
}

async function serveNest(t: Test, adapter: AbstractHttpAdapter, toRoutes: ToRoutes) {
  const controllers = toRoutes(ofNest).map(([path, guards]) => {
    class Route {
      show(identity: unknown) {
        return identity
      }
    }
    const method = Object.getOwnPropertyDescriptor(Route.prototype, 'show') as PropertyDescriptor
    Controller()(Route)
    Get(path)(Route.prototype, 'show', method)
    UseGuards(...guards)(Route.prototype, 'show', method)
    ofNest.CurrentIdentity()(Route.prototype, 'show', 0)
    return Route
  })
  class App {}
  Module({ controllers })(App)
  const app: INestApplication = await NestFactory.create(App, adapter, { logger: false })
  t.teardown(() => app.close())
  await app.listen(0)
  return originOf(app.getHttpServer().address())
}

/** Serves on a free port until the test ends. */
export async function listen(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0)
  t.teardown(() => server.close())
  await once(server, 'listening')
  return originOf(server.address() as AddressInfo)
}

const originOf = ({ port }: AddressInfo) => `http://localhost:${port}`

function respond(response: Parameters<RequestListener>[1], value: unknown) {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value))
}
