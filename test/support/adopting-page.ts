/** The code of docs/adopting.md. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../../src/cli/shell/root.ts'

export interface Fence {
  language: string
  /** The file that the first line names, if it is a comment: `examples/notes/main.ts`. */
  title: string | null
  code: string
}

export function adoptingFences(): Fence[] {
  const page = readFileSync(path.join(root, 'docs/adopting.md'), 'utf8')
  return [...page.matchAll(/^```(\w+)[^\n]*\n(?:(?:\/\/|#) ([^\n]+)\n)?(.*?)^```$/gms)].map(
    ([, language, title, code]) => ({
      language: language!,
      title: title ?? null,
      code: code!,
    }),
  )
}
