import processOnSpawn from 'process-on-spawn'

/*
 * What tap does to the processes that tests start. It learns which modules these load by hooks that ask another thread
 * about every one of them, a third of what a service needs to start. V8 counts without: it is all that coverage is made
 * of. Where there is no coverage, they start as they do in production.
 *
 * Loaded ahead of every test (.taprc), and with coverage in the place of tap's hooks ahead of whatever a test starts.
 */
const hooks = import.meta.resolve('@tapjs/processinfo/import')
const isCovered = process.env._TAPJS_PROCESSINFO_COVERAGE_ === '1'
if (isCovered) {
  const { getProcessInfo } = await import(new URL('get-process-info.js', hooks).href)
  // It writes the counts down when the process ends, and hands itself on to the processes that this one starts.
  getProcessInfo()
}

processOnSpawn.addListener((child) => {
  // Tap's listener came first.
  const { NODE_OPTIONS = '' } = child.env
  const options = isCovered
    ? NODE_OPTIONS.replace(hooks, import.meta.url)
    : NODE_OPTIONS.replace(`--import=${hooks}`, '')
  child.env = { ...child.env, NODE_OPTIONS: options }
  return child
})
