import { globSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './root.ts'

/** A command that the application's nouns contribute to. */
export type NounPart = 'load' | 'import' | 'restore'

/**
 * What the application's nouns contribute to a command: the export `operator` of each `src/app/<noun>/<part>.operator.ts`, in
 * the order of the nouns' names. The command's folder defines the contribution's type (`src/cli/<part>/noun.ts`).
 */
export async function fromNouns<T>(part: NounPart): Promise<T[]> {
  const files = globSync(`src/app/*/${part}.operator.ts`, { cwd: root }).sort()
  return Promise.all(
    files.map(async (file) => ((await import(pathToFileURL(path.join(root, file)).href)) as { operator: T }).operator),
  )
}
