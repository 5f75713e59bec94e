/** The example of docs/building/noun.md: the files of a noun, as a builder writes them. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../../src/cli/shell/root.ts'

const PAGE = 'docs/building/noun.md'

/** The example's name, and the line that adds it. */
export const exampleNoun = { name: 'bookmarks', line: "export { bookmarks } from './bookmarks/noun.ts'" }

interface ExampleFile {
  /** From the project's folder. */
  file: string
  code: string
}

/** Every block of TypeScript whose first line names its file. Throws where the page does not show the line of the noun. */
export function exampleFiles(): ExampleFile[] {
  const page = readFileSync(path.join(root, PAGE), 'utf8')
  if (!page.includes(`\n${exampleNoun.line}\n`)) throw new Error(`${PAGE} does not show the line ${exampleNoun.line}`)
  return [...page.matchAll(/^```ts\n\/\/ ((?:src|test)\/\S+)\n(.*?)^```$/gms)].map(([, file = '', code = '']) => ({
    file,
    code,
  }))
}
