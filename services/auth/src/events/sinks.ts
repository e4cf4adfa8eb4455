import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { connect as connectTcp, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import type { AuditSink } from '@sallyport/chassis'
import type { ChainedEvent } from './chain.ts'
import { frame, toSyslog } from './syslog.ts'

/** Writes events, and resolves once they are where they belong; what fails may have written some of them. */
export type Sink = (events: readonly ChainedEvent[], signal: AbortSignal) => Promise<void>

/** @param patience milliseconds in which a receiver has to connect, to take the next bytes, and to close */
export const openSink = (sink: AuditSink, patience = 10_000): Sink =>
  'path' in sink ? fileSink(sink.path) : syslogSink(sink, patience)

/**
 * Adds lines to a file, and resolves once they are on the disk. The file is opened each time: one that was moved away, as
 * logrotate does, is left as it is, and a new one made. A line that an earlier process did not get to write to its end is
 * ended here, and comes again.
 */
function fileSink(path: string): Sink {
  return async (events) => {
    const file = await open(path, 'a+', 0o640)
    try {
      const { size } = await file.stat()
      const lines = events.map((happened) => `${JSON.stringify(happened)}\n`).join('')
      await file.appendFile((await endsWithin(file, size)) ? `\n${lines}` : lines)
      await file.sync()
      if (size === 0) await syncFolder(dirname(path))
    } finally {
      await file.close()
    }
  }
}

/** Whether the last line has no end. */
async function endsWithin(file: FileHandle, size: number): Promise<boolean> {
  if (size === 0) return false
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer.toString() !== '\n'
}

/** A new file is in its folder after a power cut, too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path)
  await folder.sync().finally(() => folder.close())
}

/**
 * Milliseconds in which a receiver that takes nothing, such as a load balancer with nobody behind it, has hung up: on top
 * of twice what connecting took.
 */
const settling = 20

/**
 * Sends events as messages of RFC 5424, framed by their length, on a connection of their own. Syslog has no receipt. So we
 * end our side and wait for the receiver to end its own, which it does when it has read to the end: bytes that were in
 * some buffer when it died are sent again.
 */
function syslogSink({ host, port, tls }: { host: string; port: number; tls: boolean }, patience: number): Sink {
  return async (events, signal) => {
    const began = performance.now()
    const socket = tls ? connectTls({ host, port }) : connectTcp({ host, port, allowHalfOpen: true })
    const lost = failureOf(socket, patience)
    lost.catch(() => {})
    const abort = () => socket.destroy(new Error('we are closing'))
    signal.addEventListener('abort', abort)
    try {
      await Promise.race([once(socket, tls ? 'secureConnect' : 'connect'), lost])
      const there = performance.now() - began
      const ended = once(socket.resume(), 'end')
      const early = ended.then(() => Promise.reject(new Error('the receiver closed before it had everything')))
      early.catch(() => {})
      const written = new Promise<void>((resolve) => {
        socket.write(Buffer.concat(events.map((happened) => frame(toSyslog(happened)))), () => resolve())
      })
      await Promise.race([written.then(() => sleep(2 * there + settling)), lost, early])
      socket.end()
      await Promise.race([ended, lost])
    } finally {
      signal.removeEventListener('abort', abort)
      socket.destroy()
    }
  }
}

/** Rejects when the connection fails, or nothing happens on it for too long. */
function failureOf(socket: Socket, patience: number): Promise<never> {
  return new Promise((_, reject) => {
    socket.setTimeout(patience, () => reject(new Error(`the receiver did nothing for ${patience / 1000} seconds`)))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the receiver closed before it had everything')))
  })
}
