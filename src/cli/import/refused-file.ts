import {
  appendFileSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { UserError } from '../shell/errors.ts'
import { CsvRecords, csvLine } from './csv.ts'
import type { Refusal } from './noun.ts'

const BUFFER_CHARACTERS = 65_536

export interface RefusedRow extends Refusal {
  /** The record's values of the reported fields. */
  values: string[]
}

/**
 * A file of refused records with the reasons: first those refused by the local check, then those refused by the server.
 */
export class RefusedFile {
  readonly file: string
  /** The file's length. */
  bytes = 0
  readonly #next: number
  readonly #header: string
  #buffer: string

  /** `fields`: the reported fields; the first is the external id. */
  constructor(input: string, fields: readonly string[]) {
    this.#header = csvLine([...fields, 'code', 'reason'])
    this.#buffer = this.#header
    this.file = `${input}.refused.csv`
    this.#next = openForWriting(`${this.file}.new`)
  }

  /** Adds a record that the local check refused. */
  found(row: RefusedRow): void {
    this.#buffer += lineOf(row)
    if (this.#buffer.length > BUFFER_CHARACTERS) this.#flush()
  }

  /** True if the previous file has everything that was refused up to a place. */
  reaches(bytes: number): boolean {
    return existsSync(this.file) && statSync(this.file).size >= bytes
  }

  /**
   * Replaces the file after the local check. Keeps the rows that the server refused up to a place (`bytes`), and
   * returns their external ids.
   */
  open(bytes: number): string[] {
    this.#flush()
    const before = existsSync(this.file) ? readFileSync(this.file).subarray(0, bytes) : Buffer.alloc(0)
    const kept = before.subarray(this.bytes)
    this.bytes += writeSync(this.#next, kept)
    closeSync(this.#next)
    renameSync(`${this.file}.new`, this.file)
    const records = new CsvRecords()
    return [...records.push(kept.toString()), ...records.end()].flatMap(([externalId]) => externalId ?? [])
  }

  append(rows: RefusedRow[]): void {
    const lines = Buffer.from(rows.map(lineOf).join(''))
    appendFileSync(this.file, lines)
    this.bytes += lines.length
  }

  /** Removes the file if no record was refused. */
  removeIfEmpty(): void {
    if (this.bytes === Buffer.byteLength(this.#header)) rmSync(this.file, { force: true })
  }

  #flush(): void {
    this.bytes += writeSync(this.#next, Buffer.from(this.#buffer))
    this.#buffer = ''
  }
}

function openForWriting(file: string): number {
  try {
    return openSync(file, 'w')
  } catch (error) {
    throw new UserError((error as Error).message, 'Copy the input to a folder in which the command may create files.')
  }
}

const lineOf = ({ values, code, detail }: RefusedRow): string => csvLine([...values, code, detail])
