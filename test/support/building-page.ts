/** The examples of docs/building: the files of a noun as a builder writes them. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../../src/cli/shell/root.ts'

export interface Example {
  /** The noun's name. */
  name: string
  /** The line that adds it to the list of nouns. */
  line: string
  /** The blocks of TypeScript whose first line names their file, relative to the project's folder. */
  files: { file: string; code: string }[]
}

export const examples = {
  noun: (): Example => exampleOf('noun.md', 'bookmarks'),
  tableGroup: (): Example & { keyspaces: string } => ({
    ...exampleOf('table-groups.md', 'biographies'),
    keyspaces: lineOf('table-groups.md', 'export const keyspaces = '),
  }),
}

function exampleOf(page: string, name: string): Example {
  const blocks = read(page).matchAll(/^```ts\n\/\/ ((?:src|test)\/\S+)\n(.*?)^```$/gms)
  const files = [...blocks].map(([, file = '', code = '']) => ({ file, code }))
  return { name, line: lineOf(page, `export { ${name} } from `), files }
}

/** The page's line that starts so. Throws if there is none. */
function lineOf(page: string, start: string): string {
  const line = read(page)
    .split('\n')
    .map((one) => one.trim())
    .find((one) => one.startsWith(start))
  if (line === undefined) throw new Error(`docs/building/${page} does not show the line ${start}…`)
  return line
}

const read = (page: string): string => readFileSync(path.join(root, 'docs/building', page), 'utf8')
