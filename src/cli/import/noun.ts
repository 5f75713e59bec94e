/** A record to send: strings by field name. `externalId` is its id in the source. */
export interface ImportRecord {
  externalId: string
  [field: string]: string | undefined
}

/** Why a record is not imported. Other records still are. */
export interface Refusal {
  code: string
  detail: string
}

/** The mapped columns of a row as strings, by field name. */
export type SourceRow = Readonly<Record<string, string | null>>

export interface ImportField {
  /** Common column names of the field, the likeliest first. */
  columns: readonly string[]
  isRequired?: boolean
  /** The refusal's code if the value is not valid text. Without a code, such a value is omitted. */
  code?: string
}

/** The server's answer for a record. `there`: it already exists. `busy`: not decided yet; send it again. */
export interface ImportOutcome {
  externalId: string
  outcome: 'imported' | 'there' | 'refused' | 'busy'
  code?: string | undefined
  detail?: string | undefined
}

export interface ImportVerification {
  externalId: string
  isHere: boolean
  /** Fields and claims that differ from what was sent. */
  differences: string[]
}

/** A value that only one record of a file may have. */
interface UniqueValue {
  /** The refusal's code for a second record with the value. */
  code: string
  called: string
  value: string
}

/** Something that is counted and reported at the end. */
export interface Remark<R, O> {
  /** Its name in --json and in the place file. */
  name: string
  isOfRecord(record: R): boolean
  isOfOutcome(outcome: O): boolean
  texts: { imported(count: string): string; dryRun(count: string): string }
}

export interface RecordRules<R extends ImportRecord> {
  /** The record of a row, or why it can't be imported. A time more than a day after `now` is refused. */
  readRow(row: SourceRow, now: number): R | Refusal
  uniqueIn(record: R): UniqueValue[]
}

/** Sends a request to the operators' API; resolves to the answer's body. */
type Post = <T>(path: string, body: object) => Promise<T>

/**
 * A noun's import of records from other applications (`src/app/<noun>/import.operator.ts`). Exactly one noun has it.
 */
export interface Importer<R extends ImportRecord = ImportRecord, O extends ImportOutcome = ImportOutcome> {
  /** By name, in the order of the staging table's columns. */
  fields: Readonly<Record<string, ImportField> & { externalId: ImportField }>
  /** Fields in the file of refused records, `externalId` first. */
  reported: readonly ['externalId', ...string[]]
  source: { pattern: RegExp; rule: string }
  remarks: readonly Remark<R, O>[]
  /** What a verification compares, as text. */
  verified: string
  examples: {
    mapping: string
    /** Common columns of such a table. */
    columns: readonly string[]
  }
  /** Loads the rules on demand, because other commands also load this file. */
  loadRules(): Promise<RecordRules<R>>
  send(post: Post, source: string, records: R[]): Promise<O[]>
  verify(post: Post, source: string, records: R[]): Promise<ImportVerification[]>
}
