import type { Database } from '@sallyport/database'
import type { DatabaseUrls } from './database.ts'

/** Settings by name, as in an environment. */
export type Settings = Record<string, string | undefined>

/** A service of a project. Its port is `<NAME>_PORT`, and the route file finds it at `${<NAME>_URL}`. */
export interface ProjectService {
  /** The file that Node runs. It says by `process.send({ port })` that it listens, and ends with SIGTERM. */
  program: string
  /** Its port, unless that is set. */
  port: number
  /** Its own settings, unless they are set from outside. */
  settings?: Settings
}

/** Somebody who can sign in. */
export interface ProjectUsers {
  emails: string[]
  password: string
}

/** What `npm start` runs beside the gateway. */
export interface Project {
  name: string
  /** The route file. */
  routes: string
  /** By their names, in lower case. */
  services: Record<string, ProjectService>
  /** The service that browsers open; they open the gateway if there is none. */
  page?: string
  /** Settings of every process, unless they are set from outside. */
  settings?: Settings
  /**
   * Whose users sign in: those of the auth service, which runs with a database of its own or that of `DATABASE_URL`, or
   * those of the issuers in the route file alone.
   */
  signIn: 'auth' | 'issuers'
  /** Whether its users have a password that is published: then it never runs on a database that is not its own. */
  isDemo?: boolean
  /** Why `npm start` is not for production, and what to run there. */
  production: string
  /** Makes the first users of its own database, unless they are there. Without it one is made, with a random password. */
  fill?(database: Database): Promise<ProjectUsers>
  /** What has to be there before the services start. @returns further settings of each */
  prepare?(system: {
    databases: DatabaseUrls
    secrets: string
    audience: string
    gateway: string
  }): Promise<Record<string, Settings>>
}
