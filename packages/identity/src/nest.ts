import { type CanActivate, createParamDecorator, type ExecutionContext, HttpException } from '@nestjs/common'
import type { Identity } from '@sallyport/verify'
import { createGuards } from './guards.ts'
import { problemHeaders, Refusal } from './refusal.ts'
import type { Headers } from './trust.ts'

/** As much of a request and its response as those of Express and Fastify have in common. */
type Request = { headers: Headers; identity?: Identity }
type Response = { header(name: string, value: string): unknown }

/** For `@UseGuards()`, on Express and on Fastify. It throws an HttpException, whose body is problem details. */
export type Guard = CanActivate

export const { requireIdentity, requireCaller, requireRole, requireScope, requireUuids } = createGuards<Guard>(
  (decide) => ({
    canActivate(context) {
      // A message of a socket or a queue, or a query of GraphQL, has no headers that the gateway wrote.
      if (context.getType() !== 'http')
        throw new TypeError('The guards of @sallyport/identity/nest are for HTTP routes')
      const http = context.switchToHttp()
      const request = http.getRequest<Request>()
      try {
        request.identity = decide(request, request.headers)
        return true
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        const response = http.getResponse<Response>()
        for (const [name, value] of Object.entries(problemHeaders(error))) response.header(name, value)
        throw new HttpException(error.problem, error.statusCode, { cause: error })
      }
    },
  }),
)

/** Who is calling, as a parameter of a route's method. It throws where no guard ran. */
export const CurrentIdentity = createParamDecorator((_: unknown, context: ExecutionContext): Identity => {
  const { identity } = context.switchToHttp().getRequest<Request>()
  if (!identity) throw new Error('@CurrentIdentity() needs a guard of @sallyport/identity/nest before it')
  return identity
})
