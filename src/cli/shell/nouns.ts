import { globSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './root.ts'

/** A command to which the application's nouns contribute. */
export type NounPart = 'load' | 'import' | 'restore'

/**
 * The nouns' contributions to a command: the export `operator` of each `src/app/<noun>/<part>.operator.ts`, ordered by
 * noun. `src/cli/<part>/noun.ts` defines the type.
 */
export async function fromNouns<T>(part: NounPart): Promise<T[]> {
  const files = globSync(`src/app/*/${part}.operator.ts`, { cwd: root }).sort()
  return Promise.all(
    files.map(async (file) => ((await import(pathToFileURL(path.join(root, file)).href)) as { operator: T }).operator),
  )
}
