import { globSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Command } from './shell/command.ts'

/** Every command: each `<noun>/<verb>.command.ts` exports one, so that a new one is a new file and nothing else. */
export const commands: Command[] = await Promise.all(
  globSync('*/*.command.ts', { cwd: import.meta.dirname })
    .sort()
    .map(async (file) => {
      const url = pathToFileURL(path.join(import.meta.dirname, file)).href
      return ((await import(url)) as { command: Command }).command
    }),
)
