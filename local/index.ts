export { type DatabaseUrls, prepareOwnDatabase } from './database.ts'
export { type EmbeddedPostgres, startPostgres } from './postgres.ts'
export { keepSecrets } from './secrets.ts'
export { endProcesses, freePort, programs, type RunningProcess, routesFile, startProcess } from './system.ts'
