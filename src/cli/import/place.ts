import { existsSync, readFileSync, rmSync } from 'node:fs'
import { replaceFile } from '../shell/replace-file.ts'

/** Identifies an import. If any of these differs, the import starts from scratch. */
export interface ImportIdentity {
  /** SHA-256 of the file. */
  fingerprint: string
  url: string
  source: string
  table: string
  /** The mapping as text. */
  mapping: string
  /** The reading options as text. Earlier versions had none, and read some files differently. */
  reading: string
}

/** The position of an import. */
export interface Place {
  /** When the import started. A resumed import checks the file with this time, so that it refuses the same users. */
  now: number
  /** The server has answered for all users up to this one. */
  acknowledged: number
  imported: number
  there: number
  refused: number
  /** Number of records per remark. */
  remarked: Record<string, number>
  /** Length of the file of refused users. Later bytes belong to users that are not acknowledged. */
  refusedBytes: number
}

/**
 * Stores the place in a file beside the input. Losing it only costs time, because sending users again changes nothing.
 */
export class PlaceFile {
  readonly file: string
  readonly #identity: ImportIdentity

  constructor(input: string, identity: ImportIdentity) {
    this.file = `${input}.import-state.json`
    this.#identity = identity
  }

  /** The place to resume from; null to start. `isOther`: the file holds the place of another import. */
  read(): { place: Place | null; isOther: boolean } {
    if (!existsSync(this.file)) return { place: null, isOther: false }
    const kept = parsed(readFileSync(this.file, 'utf8'))
    // Earlier versions did not store the time with which they checked.
    const isSame =
      JSON.stringify(kept?.identity) === JSON.stringify(this.#identity) && typeof kept?.place?.now === 'number'
    return { place: isSame && kept ? placeOf(kept.place) : null, isOther: !isSame }
  }

  /** Writes atomically, so that a killed process leaves the previous place. */
  write(place: Place): void {
    const { remarked, ...rest } = place
    const kept = { identity: this.#identity, place: { ...rest, ...remarked } }
    replaceFile(this.file, `${JSON.stringify(kept, null, 2)}\n`)
  }

  remove(): void {
    rmSync(this.file, { force: true })
  }
}

/** The form in the file, in which the remarks are on the same level as the other counts. */
type Counts = Omit<Place, 'remarked'>

const placeOf = ({ now, acknowledged, imported, there, refused, refusedBytes, ...remarked }: Counts): Place => ({
  ...{ now, acknowledged, imported, there, refused, refusedBytes },
  remarked,
})

function parsed(text: string): { identity: ImportIdentity; place: Counts } | null {
  try {
    return JSON.parse(text) as { identity: ImportIdentity; place: Counts }
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
