import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** Replaces a file atomically: a concurrent reader sees the old or the new content, never a part of it. */
export function replaceFile(file: string, text: string, mode = 0o666): void {
  const beside = `${file}.${process.pid}.new`
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(beside, text, { mode })
  renameSync(beside, file)
}
