import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { CsvRecords, csvLine } from './csv.ts'
import type { RefusedRow } from './staging.ts'

const HEADER = csvLine(['externalId', 'email', 'handle', 'code', 'reason'])

/** Who was refused and why: first those that the check of the file found, then those that the server refused. */
export class RefusedFile {
  readonly file: string
  /** How long it is. */
  bytes = 0
  #found = [HEADER]

  constructor(input: string) {
    this.file = `${input}.refused.csv`
  }

  /** One that the check has found. */
  found(row: RefusedRow): void {
    this.#found.push(lineOf(row))
  }

  /**
   * Writes what the check found; what the server had refused until a place (`bytes`) stays. Returns the external ids of
   * those.
   */
  open(bytes: number): string[] {
    const found = Buffer.from(this.#found.join(''))
    this.#found = []
    const before = existsSync(this.file) ? readFileSync(this.file).subarray(0, bytes) : Buffer.alloc(0)
    const kept = before.subarray(found.length)
    writeFileSync(this.file, Buffer.concat([found, kept]))
    this.bytes = found.length + kept.length
    const records = new CsvRecords()
    return [...records.push(kept.toString()), ...records.end()].map(([externalId]) => externalId!)
  }

  append(rows: RefusedRow[]): void {
    const lines = Buffer.from(rows.map(lineOf).join(''))
    appendFileSync(this.file, lines)
    this.bytes += lines.length
  }

  /** Nobody was refused: then there is no file. */
  removeIfEmpty(): void {
    if (this.bytes === Buffer.byteLength(HEADER)) rmSync(this.file, { force: true })
  }
}

const lineOf = ({ externalId, email, handle, code, detail }: RefusedRow): string =>
  csvLine([externalId, email, handle, code, detail])
