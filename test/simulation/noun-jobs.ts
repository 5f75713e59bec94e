/** The jobs that nouns bring into the simulation: `<noun>/jobs.ts`, found by its name. */
import { globSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { JobKinds } from '../../src/jobs/kinds.ts'

const files = globSync('*/jobs.ts', { cwd: import.meta.dirname })

const kinds = await Promise.all(
  files.map(async (file) => {
    const found = await import(pathToFileURL(path.join(import.meta.dirname, file)).href)
    return (found as { jobs: JobKinds }).jobs
  }),
)

export const nounJobs: JobKinds = Object.assign({}, ...kinds)
