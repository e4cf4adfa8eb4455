import '@sallyport/chassis/node-version'
import { runProject } from './run-project.ts'
import { samples } from './samples.ts'

await runProject(samples)
