import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/* Loaded ahead of a gateway's own program: asked for it, it collects garbage and sends how much memory is in use. */

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

process.on('message', () => {
  collect()
  // What is freed late, such as of sockets, is freed now.
  setTimeout(() => {
    collect()
    const { heapUsed, external, rss } = process.memoryUsage()
    process.send?.({ heapUsed, external, rss })
  }, 50)
})
// This does not keep the process alive.
process.channel?.unref()
