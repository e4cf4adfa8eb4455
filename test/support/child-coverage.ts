import processOnSpawn from 'process-on-spawn'

/*
 * The coverage of processes that tests start. Tap learns which modules these load by hooks that ask another thread about
 * every one of them, a third of what a service needs to start. V8 counts without: it is all that coverage is made of.
 *
 * Loaded ahead of every test (.taprc), and in the place of tap's hooks ahead of whatever a test starts.
 */
const hooks = import.meta.resolve('@tapjs/processinfo/import')
const { getProcessInfo } = await import(new URL('get-process-info.js', hooks).href)
// It writes the counts down when the process ends, and hands itself on to the processes that this one starts.
getProcessInfo()

processOnSpawn.addListener((child) => {
  // Tap's listener came first.
  const { NODE_OPTIONS = '' } = child.env
  child.env = { ...child.env, NODE_OPTIONS: NODE_OPTIONS.replace(hooks, import.meta.url) }
  return child
})
