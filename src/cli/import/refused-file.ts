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
  /** What it holds of the fields that the file has. */
  values: string[]
}

/** Who was refused and why: first those that the check of the file found, then those that the server refused. */
export class RefusedFile {
  readonly file: string
  /** How long it is. */
  bytes = 0
  readonly #next: number
  readonly #header: string
  #buffer: string

  /** `fields`: those that it has of a record; the first one is its external id. */
  constructor(input: string, fields: readonly string[]) {
    this.#header = csvLine([...fields, 'code', 'reason'])
    this.#buffer = this.#header
    this.file = `${input}.refused.csv`
    this.#next = openForWriting(`${this.file}.new`)
  }

  /** One that the check has found. */
  found(row: RefusedRow): void {
    this.#buffer += lineOf(row)
    if (this.#buffer.length > BUFFER_CHARACTERS) this.#flush()
  }

  /** True when the file before has what was refused until a place. */
  reaches(bytes: number): boolean {
    return existsSync(this.file) && statSync(this.file).size >= bytes
  }

  /**
   * What the check found is whole; of the file before, what the server had refused until a place (`bytes`) stays. Returns
   * the external ids of those.
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

  /** Nobody was refused: then there is no file. */
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
    throw new UserError((error as Error).message, 'Copy the input to a folder in which files may be made beside it.')
  }
}

const lineOf = ({ values, code, detail }: RefusedRow): string => csvLine([...values, code, detail])
