import { runProject } from '@sallyport/local'
import { project } from './project.js'

await runProject(project)
