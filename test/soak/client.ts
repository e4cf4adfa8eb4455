import { connect, type Socket } from 'node:net'

/** What a client says, in latin1, and milliseconds that it waits before it says it. */
export interface Segment {
  bytes: string
  wait: number
}

export interface Heard {
  bytes: string
  /** How the server left the connection, when the client had said all and heard nothing more for a while. */
  end: 'closed' | 'reset' | 'open'
}

export interface Manner {
  port: number
  /** The address that the client comes from, by which an upstream knows whose request it has. */
  from: string
  /** Milliseconds without a word after which a client goes. */
  quiet: number
  /** Whether the client ends its side after the last segment. */
  halfCloses?: boolean
  /** Known once all is said. */
  isDone?: (heard: string) => boolean
}

/** Bytes after which a client goes. */
const mostHeard = 4_000_000

/** Says something and listens, until the server closes or is quiet. */
export function converse(segments: Segment[], manner: Manner): Promise<Heard> {
  const { port, from, quiet, halfCloses, isDone } = manner
  return new Promise((resolve) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', localAddress: from, noDelay: true })
    let bytes = ''
    let end: Heard['end'] = 'closed'
    let isOver = false
    let hasSaidAll = false
    const leave = () => {
      end = 'open'
      socket.destroy()
    }
    let timer = setTimeout(leave, quiet * 4)
    socket.setEncoding('latin1').on('data', (chunk) => {
      bytes += chunk
      // Of what has no end no more is of use.
      if (bytes.length > mostHeard) leave()
      if (!hasSaidAll) return
      if (isDone?.(bytes)) leave()
      else timer.refresh()
    })
    socket.on('error', () => {
      end = 'reset'
    })
    socket.on('end', () => {
      isOver = true
    })
    socket.on('close', () => {
      clearTimeout(timer)
      resolve({ bytes, end })
    })
    socket.on('connect', async () => {
      for (const { bytes: text, wait } of segments) {
        if (wait > 0) await new Promise((next) => setTimeout(next, wait))
        else await new Promise(setImmediate)
        if (socket.destroyed || isOver) return
        socket.write(text, 'latin1')
      }
      if (halfCloses) socket.end()
      hasSaidAll = true
      clearTimeout(timer)
      timer = setTimeout(leave, quiet)
    })
  })
}
