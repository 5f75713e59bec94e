import { globSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Command } from './shell/command.ts'

/** Every command. Each `<noun>/<verb>.command.ts` exports one, so a new command needs only a new file. */
export const commands: Command[] = await Promise.all(
  globSync('*/*.command.ts', { cwd: import.meta.dirname })
    .sort()
    .map(async (file) => {
      const url = pathToFileURL(path.join(import.meta.dirname, file)).href
      return ((await import(url)) as { command: Command }).command
    }),
)
