import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** Writes a file that another process may read at any moment: it is the old one or the new one, never half of it, whoever else writes it. */
export function replaceFile(file: string, text: string, mode = 0o666): void {
  const beside = `${file}.${process.pid}.new`
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(beside, text, { mode })
  renameSync(beside, file)
}
