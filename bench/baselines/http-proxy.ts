import { Agent, createServer } from 'node:http'
import httpProxy from 'http-proxy'

/** http-proxy as its README shows it, with kept connections: no check of anything. */
const agent = new Agent({ keepAlive: true, maxSockets: 128 })
const proxy = httpProxy.createProxyServer({ target: process.env.UPSTREAM as string, agent })
proxy.on('error', (_error, _request, response) => response.end())
createServer((request, response) => proxy.web(request, response)).listen(Number(process.env.PORT), '127.0.0.1')
