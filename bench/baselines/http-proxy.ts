import { Agent, createServer } from 'node:http'
import httpProxy from 'http-proxy'

/**
 * http-proxy as its README shows it, without any check: as it comes, which is a new connection for each request, or
 * with connections that are kept, which its users have to find out.
 */
const agent = process.env.KEPT ? new Agent({ keepAlive: true, maxSockets: 128 }) : undefined
const proxy = httpProxy.createProxyServer({ target: process.env.UPSTREAM as string, ...(agent ? { agent } : {}) })
proxy.on('error', (_error, _request, response) => response.end())
createServer((request, response) => proxy.web(request, response)).listen(Number(process.env.PORT))
