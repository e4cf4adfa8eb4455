export { type DatabaseUrls, prepareOwnDatabase } from './database.ts'
export { keepSecrets } from './keep-secrets.ts'
export { type EmbeddedPostgres, startPostgres } from './postgres.ts'
export { endProcesses, freePort, programs, type RunningProcess, routesFile, startProcess } from './system.ts'
