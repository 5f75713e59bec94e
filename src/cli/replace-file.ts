import { renameSync, writeFileSync } from 'node:fs'

/** Writes a file that another process may read at any moment: it is the old one or the new one, never half of it. */
export function replaceFile(file: string, text: string): void {
  const beside = `${file}.new`
  writeFileSync(beside, text)
  renameSync(beside, file)
}
