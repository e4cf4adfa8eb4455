// The first thing that every program of ours loads: plain JavaScript, for versions of Node.js that cannot read the rest.
// What they lack is `require` of ES modules.
if (!process.features.require_module) {
  const needed = 'Node.js 20.19 or later (of version 22: 22.12 or later)'
  process.stderr.write(
    `Sallyport needs ${needed}; this is ${process.version}. https://nodejs.org has the current one.\n`,
  )
  process.exit(1)
}
