/** A record as it is sent: texts by the names of its fields. `externalId` is its id in the source. */
export interface ImportRecord {
  externalId: string
  [field: string]: string | undefined
}

/** Why a record isn't imported; the others are. */
export interface Refusal {
  code: string
  detail: string
}

/** What the mapped columns of a row hold, as text, by the names of fields. */
export type SourceRow = Readonly<Record<string, string | null>>

export interface ImportField {
  /** What a column of it is often called, the likeliest first. */
  columns: readonly string[]
  isRequired?: boolean
  /** Of a record whose field is no text. Without a code such a field is left out. */
  code?: string
}

/** What the server says of a record. `there`: imported before. `busy`: nothing is decided, to be sent again. */
export interface ImportOutcome {
  externalId: string
  outcome: 'imported' | 'there' | 'refused' | 'busy'
  code?: string | undefined
  detail?: string | undefined
}

export interface ImportVerification {
  externalId: string
  isHere: boolean
  /** What isn't as it was sent. */
  differences: string[]
}

/** A value that one record of a file has for itself. */
interface UniqueValue {
  /** Of a second record with it. */
  code: string
  called: string
  value: string
}

/** Something that is counted, and said at the end. */
export interface Remark<R, O> {
  /** In --json and in the file of the place. */
  name: string
  isOfRecord(record: R): boolean
  isOfOutcome(outcome: O): boolean
  texts: { imported(count: string): string; dryRun(count: string): string }
}

export interface RecordRules<R extends ImportRecord> {
  /** The record in a row, or why it can't be imported. `now`: a time after it, by more than a day, is refused. */
  readRow(row: SourceRow, now: number): R | Refusal
  uniqueIn(record: R): UniqueValue[]
}

/** Sends a request to the operators' API; resolves to the answer's body. */
type Post = <T>(path: string, body: object) => Promise<T>

/** How a noun's records come from other applications (`src/app/<noun>/import.operator.ts`). One noun has it. */
export interface Importer<R extends ImportRecord = ImportRecord, O extends ImportOutcome = ImportOutcome> {
  /** By name, in the order of the table in which they are kept meanwhile. */
  fields: Readonly<Record<string, ImportField> & { externalId: ImportField }>
  /** Fields that the list of refused records has, `externalId` first. */
  reported: readonly ['externalId', ...string[]]
  source: { pattern: RegExp; rule: string }
  remarks: readonly Remark<R, O>[]
  /** What a verification has compared. */
  verified: string
  examples: {
    mapping: string
    /** Columns that such a table often has. */
    columns: readonly string[]
  }
  /** The rules may be slow to load, and other commands read this file, too. */
  loadRules(): Promise<RecordRules<R>>
  send(post: Post, source: string, records: R[]): Promise<O[]>
  verify(post: Post, source: string, records: R[]): Promise<ImportVerification[]>
}
