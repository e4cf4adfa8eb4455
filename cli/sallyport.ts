import '@sallyport/chassis/node-version'
import { run } from './program.ts'

const { argv, env, stdin, stdout, stderr } = process
// Whoever reads no further, such as `head`, has what they wanted.
stdout.on('error', ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? 0 : 1))
const to = (stream: NodeJS.WritableStream) => (line: string) => {
  stream.write(`${line}\n`)
}
process.exitCode = await run(argv.slice(2), { env, stdin, say: to(stdout), warn: to(stderr) })
